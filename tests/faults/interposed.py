"""File operations of a process, numbered as they come, and what happens before or after one of them.

Installed in the process under test. An operation counts where it concerns a path below the watched folder: opening a
file for writing, replacing or renaming, removing, making or removing a folder, and waiting for the disk (fsync).
"""

import builtins
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Moment = Literal["before", "after"]
Deed = Callable[[], None]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
ONE_PATH = ("unlink", "remove", "mkdir", "rmdir", "truncate")
TWO_PATHS = ("replace", "rename", "link", "symlink")


class Interposed:
    """Counts the operations of this process, writes each to a log, and does something at one of them.

    Args:
        watched: folder whose operations count.
        log: file that gets a line for each, outside of ``watched``.
        number: of that operation, from 1; 0: none.
        moment: before or after that operation.
        deed: what happens; None kills this process, as nothing that it can catch does.
    """

    def __init__(
        self, watched: Path, log: Path, number: int = 0, moment: Moment = "before", deed: Deed | None = None
    ) -> None:
        self.watched = str(watched.resolve())
        self.number = number
        self.moment = moment
        self.count = 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.process = os.getpid()
        self.deed = deed or self._killed

    def install(self) -> None:
        """Interpose from now on; what was imported before looks the functions up at every call."""
        usual_open = builtins.open
        builtins.open = io.open = self._around(usual_open, "open", self._opened_to_write)  # type: ignore[assignment]
        os.open = self._around(os.open, "open", self._opened_by_flags)
        os.fsync = self._around(os.fsync, "fsync", self._of_descriptor)
        for name in ONE_PATH:
            setattr(os, name, self._around(getattr(os, name), name, lambda path, *_, **named: self._path(path, named)))
        for name in TWO_PATHS:
            setattr(os, name, self._around(getattr(os, name), name, lambda _, to, **named: self._path(to, named)))

    def _around(self, usual: Callable[..., Any], name: str, concerned: Callable[..., str | None]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            path = concerned(*args, **named) if os.getpid() == self.process else None
            if path is None or not path.startswith(self.watched + os.sep):
                return usual(*args, **named)
            self.count += 1
            os.write(self.log, f"{name} {path[len(self.watched) + 1 :]}\n".encode())
            if self.count != self.number:
                return usual(*args, **named)
            self.number = 0  # the deed is done once, and its own operations do not count
            self.process, process = 0, self.process
            try:
                if self.moment == "before":
                    self.deed()
                    return usual(*args, **named)
                try:
                    return usual(*args, **named)
                finally:
                    self.deed()
            finally:
                self.process = process

        return call

    def _killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _path(self, path: Any, named: dict[str, Any]) -> str | None:
        if isinstance(path, int):
            return self._of_descriptor(path)
        folder = named.get("dir_fd")
        place = Path(os.fsdecode(path)) if folder is None else Path(self._of_descriptor(folder), os.fsdecode(path))
        return str(place.parent.resolve() / place.name)

    def _opened_to_write(self, file: Any, mode: str = "r", *_: Any, **__: Any) -> str | None:
        return self._path(file, {}) if set(mode) & set("wax+") and not isinstance(file, int) else None

    def _opened_by_flags(self, path: Any, flags: int, *_: Any, **named: Any) -> str | None:
        return self._path(path, named) if flags & WRITING else None

    def _of_descriptor(self, descriptor: Any) -> str:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        return str(Path(f"/proc/self/fd/{number}").readlink())
