"""``python run.py task=evaluate explainer=ours split=ratio``: compose the configuration, run the task it names."""

import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from reslrp.errors import IncompleteRun, InputError

# Hydra then raises its errors instead of printing them over several lines and leaving with code 1.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def compose_and_run(config: DictConfig) -> None:
    hydra.utils.get_method(config.task._target_)(config)


def main() -> int:
    """Exit code: 0 done, 1 samples are missing, 2 wrong input, 130 interrupted."""
    try:
        compose_and_run()
    except (InputError, HydraException, OmegaConfBaseException) as error:
        print("error: " + one_line(error), file=sys.stderr)
        return 2
    except IncompleteRun as error:
        print(f"incomplete: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: start the same command again to go on", file=sys.stderr)
        return 130
    return 0


def one_line(error: BaseException) -> str:
    """Hydra and OmegaConf describe an error over several lines; what a user needs are its words."""
    text = str(error).split("Config search path")[0]
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
