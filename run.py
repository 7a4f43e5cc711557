"""``python run.py task=evaluate explainer=ours split=ratio``: compose the configuration, run the task it names.

Exit codes: 0 done; 1 something is missing (samples were skipped, the disk is full: the same command goes on); 2 wrong
input; 3 unexpected; 130 interrupted; 143 terminated. Whatever it is, it is said in one line.
"""

import errno
import io
import os
import re
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

INCOMPLETE, WRONG_INPUT, UNEXPECTED, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
MAIN_PROCESS = os.getpid()
WRITING_FAILED = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV,
}  # fmt: skip
LIMITS = {
    errno.EMFILE: "raise it with `ulimit -n 1024`, or say dataset.num_workers=0",
    errno.ENFILE: "end other programs, or say dataset.num_workers=0",
    errno.EAGAIN: "end other processes, or say dataset.num_workers=0",
    errno.ENOMEM: "end other programs, or choose smaller batches (task.batch_size, trainer.batch_size)",
}
"""Errors of a machine that has no more of something, and what to do."""
codes = [0]
stopped: list[int] = []
"""Signals that came: a library that is being imported may turn the interruption into an error of its own."""


def main() -> int:
    """Run the command line; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or file in ASCII has no sign for a progress bar
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it may be ignored, as under nohup
        signal.signal(signal.SIGINT, stop)
    try:
        start()
    except KeyboardInterrupt:
        return interrupted()
    except SystemExit as ended:  # --help and the like
        codes.append(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    except Exception as error:
        if stopped:
            return interrupted()
        report(error)
    return max(codes)


def stop(number: int, frame: object) -> None:
    """Interrupt what goes on (a handler of signals)."""
    stopped.append(number)
    raise KeyboardInterrupt


def stop_if_asked() -> None:
    """Interrupt now if a signal came before: a library may have swallowed the interruption while it was imported."""
    if stopped:
        raise KeyboardInterrupt


def interrupted() -> int:
    """Say that the run was stopped; return the exit code."""
    terminated = signal.SIGTERM in stopped
    said = "terminated" if terminated else "interrupted"
    print(f"{said}: start the same command again to go on", file=sys.stderr)
    return TERMINATED if terminated else INTERRUPTED


def start() -> None:
    """Compose the configuration and run what it names; it imports here, which takes seconds that may be interrupted."""
    # Hydra then raises its errors instead of printing them over several lines and leaving with code 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    from relsplit.bench.configuration.settings import Settings
    from relsplit.bench.machine.memory import keep_freed_memory

    keep_freed_memory()
    stop_if_asked()

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def compose_and_run(config: DictConfig) -> None:
        """Run one job. In a sweep, a job that fails does not stop the others."""
        try:
            settings = Settings.composed(config)  # what it names is checked by the task, which imports it
            task = hydra.utils.get_method(settings.task.import_path)
            stop_if_asked()
            task(settings)
        except Exception as error:
            if os.getpid() != MAIN_PROCESS:
                raise  # a launcher runs the job elsewhere: it brings the error back
            if stopped:
                raise KeyboardInterrupt from error
            several = HydraConfig.get().mode.name == "MULTIRUN"
            report(error, " ".join(HydraConfig.get().overrides.task) if several else "")

    sys.argv[1:] = [quoted(argument) for argument in sys.argv[1:]]
    try:
        compose_and_run()
    finally:
        for folder in sorted(Path("outputs", "sweeps").glob("*"), reverse=True):
            with suppress(OSError):  # Hydra makes a folder per point; the results lie elsewhere
                folder.rmdir()
        with suppress(OSError):
            Path("outputs", "sweeps").rmdir()


def quoted(argument: str) -> str:
    """Quote a value like ``layer4[-1]``, whose brackets Hydra would not understand."""
    return re.sub(r"^([\w.@/+]+=)([A-Za-z_][\w.]*(?:\[-?\d+\][\w.]*)+)$", r"\1'\2'", argument)


def report(error: Exception, job: str = "") -> None:
    """Say in one line what is wrong, and remember the exit code.

    Args:
        error: what ended the job.
        job: what was typed for this point of a sweep.
    """
    sys.unraisablehook = lambda _: None  # what ended half-built has nothing to add
    kind, code, text = described(error)
    where = f" ({job})" if job else ""
    print(f"{kind}{where}: {' '.join(text.split())}", file=sys.stderr)
    codes.append(code)


def described(error: Exception) -> tuple[str, int, str]:
    """Return the kind of error in a word, its exit code, and its text."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from relsplit.bench.configuration.extras import extra_of
    from relsplit.errors import IncompleteRun, InputError

    cause: BaseException | None = error
    while cause is not None:  # Hydra and Lightning wrap what ended them
        if isinstance(cause, InputError):
            return "error", WRONG_INPUT, str(cause)
        if isinstance(cause, IncompleteRun):
            return "incomplete", INCOMPLETE, str(cause)
        if isinstance(cause, OSError) and cause.errno in WRITING_FAILED:
            file = f" ({cause.filename})" if cause.filename else ""
            return "incomplete", INCOMPLETE, f"{cause.strerror}{file}: mend that and start the same command to go on"
        if isinstance(cause, OSError) and cause.errno in LIMITS:
            return (
                "incomplete",
                INCOMPLETE,
                f"{cause.strerror}: {LIMITS[cause.errno]}, and start the same command again",
            )
        if isinstance(cause, RuntimeError) and str(cause).startswith(("DataLoader worker", "DataLoader timed out")):
            lost = "a data-loading process was killed (memory?), or has waited for a file for too long"
            return "incomplete", INCOMPLETE, f"{lost}: start the same command with dataset.num_workers=0, which goes on"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (HydraException, OmegaConfBaseException)) or raised_in(
        error, ("hydra", "omegaconf", "antlr4")
    ):
        from relsplit.bench.configuration.misspelt import explained

        text = explained(str(error).split("Config search path")[0], sys.argv[1:], Path(__file__).parent / "conf")
        hint = "; quote what has brackets or commas: 'key=[a,b]'" if "override" in text and "[" in text else ""
        keys = [argument.partition("=")[0].lstrip("+~") for argument in sys.argv[1:]]
        if not any(key and key in text for key in keys):  # Hydra does not always say which
            hint += f" (typed: {' '.join(sys.argv[1:])})"
        return "error", WRONG_INPUT, text.strip() + hint
    if isinstance(error, RuntimeError) and raised_in(error, ("submitit",)):
        return "error", WRONG_INPUT, f"hydra/launcher: {error} On one machine say hydra/launcher=joblib, or none"
    if isinstance(error, ModuleNotFoundError) and (extra := extra_of(error.name)):
        return "error", WRONG_INPUT, f"{error}: it comes with `pip install -e '.[{extra}]'`"
    return "unexpected", UNEXPECTED, f"{type(error).__name__}: {str(error)[:300]}; the traceback is in {kept(error)}"


def raised_in(error: Exception, packages: tuple[str, ...]) -> bool:
    """Say whether an error comes out of one of these packages: they check what was typed."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    return bool(frame) and bool(set(packages) & set(Path(frame[0].filename).parts))


def kept(error: Exception) -> Any:
    """Write the traceback to a file; return its path."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="relsplit-", suffix=".txt", delete=False) as file:
            file.write(f"{' '.join(sys.argv)}\n{text}")
            return file.name
    except OSError:
        print(text, file=sys.stderr)
        return "the lines above"


if __name__ == "__main__":
    sys.exit(main())
