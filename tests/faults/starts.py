"""Starts of ``run.py``, each in a process of its own that is forked from one in which everything is imported."""

import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """What became of a start.

    Attributes:
        code: exit code; minus the signal that ended it.
        said: stdout.
        error: stderr.
        operations: the file operations that counted, in order: "replace run/summary.json".
    """

    code: int
    said: str
    error: str
    operations: list[str]


class Starts:
    """Starts command lines one after the other.

    Args:
        scratch: folder for what the starts say.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def start(
        self, arguments: Sequence[str], folder: Path, number: int = 0, moment: str = "before",
        watched: Path | None = None, largest_file: int | None = None, deed: str | None = None,
    ) -> Ended:  # fmt: skip
        """Start ``run.py`` in a folder.

        Args:
            arguments: of the command line.
            folder: where it is started.
            number: of the file operation at which something happens, 0 for none.
            moment: "before" or "after" it.
            watched: folder whose operations count; by default ``folder``.
            largest_file: bytes that a file may have (RLIMIT_FSIZE), None for no limit.
            deed: what happens, one of :data:`deeds.DEEDS` or :data:`deeds.TO_PROCESSES`; None kills the process.
        """
        asked = {
            "arguments": list(arguments), "folder": str(folder), "number": number, "moment": moment,
            "watched": str(watched or folder), "largest_file": largest_file, "deed": deed,
        }  # fmt: skip
        return self._ended([asked])[0]

    def start_at_once(self, several: Sequence[Sequence[str]], folder: Path) -> list[Ended]:
        """Start several command lines in a folder at the same moment."""
        common = {
            "folder": str(folder), "number": 0, "moment": "before", "watched": str(folder), "largest_file": None,
            "deed": None,
        }  # fmt: skip
        return self._ended([{"arguments": list(arguments), **common} for arguments in several])

    def _ended(self, several: list[dict[str, Any]]) -> list[Ended]:
        names = ("said", "error", "operations")
        for position, asked in enumerate(several):
            for name in names:
                asked[name] = str(self.scratch / f"{name}{position}")
                Path(asked[name]).write_text("")
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(several) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        assert answer, "the process that forks is gone"
        ended = []
        for asked, code in zip(several, json.loads(answer), strict=True):
            said, error, operations = (Path(asked[name]).read_text(errors="replace") for name in names)
            ended.append(Ended(code, said, error, operations.splitlines()))
        return ended

    def end(self) -> None:
        """End the process that forks."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(900)  # a guard only


@contextmanager
def starts_in(scratch: Path) -> Iterator[Starts]:
    starts = Starts(scratch)
    try:
        yield starts
    finally:
        starts.end()


def serve() -> None:
    """Import everything once; then fork processes for every line of stdin, and answer with their exit codes."""
    import captum.attr  # noqa: F401
    import hydra  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import torchvision  # noqa: F401

    for line in sys.stdin:
        children = []
        for asked in json.loads(line):
            child = os.fork()
            if child == 0:
                _be(asked)
            children.append(child)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


def _be(asked: dict[str, Any]) -> None:
    from deeds import DEEDS, TO_PROCESSES
    from interposed import Interposed

    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(asked["folder"])
        for name, number in (("said", 1), ("error", 2)):
            os.dup2(os.open(asked[name], os.O_WRONLY | os.O_APPEND), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if asked["largest_file"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"],) * 2)
        sys.argv = ["run.py", *asked["arguments"]]
        deeds = {**DEEDS, **TO_PROCESSES}
        files = (Path(asked["watched"]), Path(asked["operations"]))
        Interposed(*files, asked["number"], asked["moment"], deeds.get(asked["deed"])).install()
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
