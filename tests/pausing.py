"""Runs that pause themselves where a test wants to meet them, however fast or loaded the machine is.

``python pausing.py FILE TIMES ARGUMENTS`` is ``run.py ARGUMENTS`` that stops (SIGSTOP) when a file of that name is on
the disk for the so-manieth time: replaced, or appended to and waited for (fsync). What then happens to it, happens
there.
"""

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GUARD = 900
"""Seconds after which a test gives up waiting: no measure of anything, only no waiting forever."""


def pausing(file: str, times: int, arguments: Sequence[str]) -> list[str]:
    """The command of a run that pauses."""
    return [sys.executable, str(Path(__file__)), file, str(times), *arguments]


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Wait for something that a process brings about; fail where it ends before."""
    deadline = time.monotonic() + GUARD
    while not condition():
        if process.poll() is not None:
            assert condition(), f"ended with code {process.returncode}: {process.communicate()[1]!r}"
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_paused(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Wait until a run pauses; fail where it ends without."""

    def is_paused() -> bool:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    wait_until(is_paused, process)


def wait_until_all_ended(processes: Callable[[], Sequence[Any]]) -> None:
    """Wait until none of these processes is left."""
    deadline = time.monotonic() + GUARD
    while processes():
        assert time.monotonic() < deadline, processes()
        time.sleep(0.05)


def pause_at(name: str, times: int) -> None:
    """Stop this process when a file of this name is on the disk for the so-manieth time."""
    usual_fsync, usual_replace, process = os.fsync, os.replace, os.getpid()
    count = 0

    def written(path: str) -> None:
        nonlocal count
        if os.getpid() == process and Path(path).name == name:
            count += 1
            if count == times:
                os.kill(process, signal.SIGSTOP)

    def fsync(descriptor: Any) -> None:
        usual_fsync(descriptor)
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        written(str(Path(f"/proc/self/fd/{number}").readlink()))

    def replace(source: Any, target: Any, **named: Any) -> None:
        usual_replace(source, target, **named)
        written(os.fsdecode(target))

    os.fsync, os.replace = fsync, replace


if __name__ == "__main__":
    pause_at(sys.argv[1], int(sys.argv[2]))
    sys.argv = [str(ROOT / "run.py"), *sys.argv[3:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
