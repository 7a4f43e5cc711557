"""``python run.py task=evaluate explainer=ours split=ratio``: compose the configuration, run the task it names."""

import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from relsplit.errors import IncompleteRun, InputError

# Hydra then raises its errors instead of printing them over several lines and leaving with code 1.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")

MAIN_PROCESS = os.getpid()
EXPECTED = (InputError, IncompleteRun, HydraException, OmegaConfBaseException)
exit_codes = [0]


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def compose_and_run(config: DictConfig) -> None:
    """Run one job. In a sweep, a job that fails does not stop the others."""
    try:
        hydra.utils.get_method(config.task._target_)(config)
    except EXPECTED as error:
        if os.getpid() != MAIN_PROCESS:
            raise  # a launcher runs the job elsewhere: it brings the error back
        report(error)


def report(error: Exception) -> None:
    """Say in one line what is wrong; Hydra and OmegaConf say it over several."""
    kind, code = ("incomplete", 1) if isinstance(error, IncompleteRun) else ("error", 2)
    text = " ".join(str(error).split("Config search path")[0].split())
    print(f"{kind}: {text}", file=sys.stderr)
    exit_codes.append(code)


def main() -> int:
    """Exit code: 0 done, 1 samples are missing, 2 wrong input, 130 interrupted."""
    try:
        compose_and_run()
    except EXPECTED as error:
        report(error)
    except KeyboardInterrupt:
        print("interrupted: start the same command again to go on", file=sys.stderr)
        return 130
    return max(exit_codes)


if __name__ == "__main__":
    sys.exit(main())
