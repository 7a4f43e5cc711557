"""The command ``relsplit task=evaluate explainer=ours split=ratio``: compose the configuration, run the task it names.

Exit codes: 0 done; 1 something is missing (samples were skipped, the disk is full: the same command goes on); 2 wrong
input; 3 unexpected; 130 interrupted; 143 terminated. Whatever it is, it is said in one line.

This file imports Python alone, so that it can say what is not installed.
"""

import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from relsplit.bench.failure import described
from relsplit.errors import InputError, is_of_a_signal
from relsplit.version import __version__

if TYPE_CHECKING:
    from omegaconf import DictConfig

INTERRUPTED, TERMINATED = 130, 143
SWEEPS = Path("outputs", "sweeps")
"""Where Hydra notes a sweep; the results lie elsewhere."""


def main() -> int:
    """Run what ``sys.argv`` says; return the exit code."""
    return Command().run()


class Command:
    """One start of the program: what was typed, the signals that came, and the exit codes of its jobs."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.codes = [0]
        self.signals: list[int] = []
        """A library that is being imported may turn the interruption into an error of its own, so they are kept."""

    def run(self) -> int:
        """Run the command line; return the exit code."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal or file in ASCII has no sign for a progress bar
                stream.reconfigure(errors="replace")
        sys.unraisablehook = self.ignored
        signal.signal(signal.SIGTERM, self.stop)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it may be ignored, as under nohup
            signal.signal(signal.SIGINT, self.stop)
        try:
            self.start()
        except KeyboardInterrupt:
            return self.interrupted()
        except SystemExit as ended:  # --help and the like
            if isinstance(ended.__context__, BrokenPipeError):  # as rich answers it, without a word
                self.report(ended.__context__)
            self.codes.append(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        except Exception as error:
            if self.signals:
                return self.interrupted()
            self.report(error)
        return max(self.codes)

    def stop(self, number: int, frame: object) -> None:
        """Interrupt what goes on (a handler of signals)."""
        self.signals.append(number)
        raise KeyboardInterrupt

    def ignored(self, what: "sys.UnraisableHookArgs") -> None:
        """Take what Python ignores because it was raised where an object is removed (``sys.unraisablehook``).

        A handler of a signal may raise there as anywhere. An interruption comes again, so that it is not lost; that a
        data-loading process has ended is noticed by who waits for it.
        """
        if what.exc_value is None or not is_of_a_signal(what.exc_value):
            sys.__unraisablehook__(what)
        elif isinstance(what.exc_value, KeyboardInterrupt) and self.signals:
            threading.Timer(0.1, os.kill, (os.getpid(), self.signals[-1])).start()

    def stop_if_asked(self) -> None:
        """Interrupt now if a signal came before: a library may have swallowed it while it was imported."""
        if self.signals:
            raise KeyboardInterrupt

    def interrupted(self) -> int:
        """Say that the run was stopped; return the exit code."""
        terminated = signal.SIGTERM in self.signals
        said = "terminated" if terminated else "interrupted"
        complain(f"{said}: start the same command again to go on")
        return TERMINATED if terminated else INTERRUPTED

    def start(self) -> None:
        """Compose the configuration and run what it names; it imports here, which takes seconds."""
        if "--version" in sys.argv[1:]:
            print(f"relsplit {__version__}")
            return
        # Hydra then raises its errors instead of printing them over several lines and leaving with code 1.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        import hydra
        from hydra.core.hydra_config import HydraConfig

        from relsplit.bench.configuration.search_path import packaged, search_own_files
        from relsplit.bench.configuration.settings import Settings
        from relsplit.bench.machine.memory import keep_freed_memory

        logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # what it says is in the line that ends the run
        keep_freed_memory()
        self.stop_if_asked()
        try:
            here = str(Path.cwd())
        except FileNotFoundError:
            raise InputError("the folder in which this was started is gone: change to another") from None
        if here not in sys.path:  # as for `python -m`: one's own YAML names one's own Python file
            sys.path.append(here)
        search_own_files()

        # A function made here: launchers bring it to other processes with its values, this process's number too.
        @hydra.main(version_base="1.3", config_path=str(packaged()), config_name="config")
        def compose_and_run(config: "DictConfig") -> None:
            """Run one job. In a sweep, a job that fails does not stop the others."""
            try:
                settings = Settings.composed(config)  # what it names is checked by the task, which imports it
                task = hydra.utils.get_method(settings.task.import_path)
                self.stop_if_asked()
                with never_ended():
                    task(settings)
            except Exception as error:
                if os.getpid() != self.process:
                    raise  # a launcher runs the job elsewhere: it brings the error back
                if self.signals:
                    raise KeyboardInterrupt from error
                several = HydraConfig.get().mode.name == "MULTIRUN"
                self.report(error, " ".join(HydraConfig.get().overrides.task) if several else "")

        sys.argv[1:] = arranged(sys.argv[1:])
        try:
            compose_and_run()
        finally:
            remove_notes_of_sweeps()

    def report(self, error: Exception, job: str = "") -> None:
        """Say in one line what is wrong, and remember the exit code.

        Args:
            error: what ended the job.
            job: what was typed for this point of a sweep.
        """
        sys.unraisablehook = lambda _: None  # what ended half-built has nothing to add
        kind, code, text = described(error, sys.argv[1:])
        where = f" ({job})" if job else ""
        complain(f"{kind}{where}: {' '.join(text.split())}")
        self.codes.append(code)


def arranged(arguments: Sequence[str]) -> list[str]:
    """Return what was typed as Hydra wants it: flags first, wherever they stood; what it does not understand is quoted.

    Raises:
        InputError: there is no such flag, or not with this value.
    """
    from hydra._internal.utils import get_args_parser

    from relsplit.bench.configuration.quoting import quoted

    def refuse(message: str) -> NoReturn:
        raise InputError(f"{message}; `relsplit --help` says what there is")

    parser = get_args_parser()
    parser.error = refuse  # it would print several lines
    overrides = parser.parse_intermixed_args(arguments).overrides
    return [*(each for each in arguments if each not in overrides), *map(quoted, overrides)]


@contextmanager
def never_ended() -> Iterator[None]:
    """Code that the configuration names may not end the program, which would then seem to be done.

    Raises:
        InputError: it has tried.
    """
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich's answer to a closed pipe
            raise
        place = traceback.extract_tb(ended.__traceback__)[-1]
        raise InputError(f"{place.filename}, line {place.lineno}, ends the program (sys.exit): remove that") from ended


def complain(line: str) -> None:
    """Print a line to stderr; where there is no room for it, the exit code has to do."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def remove_notes_of_sweeps() -> None:
    """Remove the configuration that Hydra writes for every sweep, and the empty folder that it makes for every point.

    What a launcher writes there (Slurm's logs) is left.
    """
    (SWEEPS / "multirun.yaml").unlink(missing_ok=True)
    for folder in [*SWEEPS.glob("*"), SWEEPS]:
        with suppress(OSError):
            folder.rmdir()
