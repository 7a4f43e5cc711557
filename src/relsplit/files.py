"""Writing files and folders so that a reader sees all of them or nothing, and notices damage."""

import errno
import glob
import os
import re
import shutil
import socket
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relsplit.errors import IncompleteRun, InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that is full, for all or for this user, and of a file that may not become larger."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a path beside ``path`` to write to; what is written there takes its place at the end, on the disk.

    After an error ``path`` is as it was, and nothing is left beside it. What a process of this machine that was killed
    over the same has left is removed.
    """
    temporary = path.with_name(_beginning(path) + f"{_this_process()}.tmp{path.suffix}")
    for left in path.parent.glob(f"{glob.escape(_beginning(path))}*.tmp{glob.escape(path.suffix)}"):
        if _maker_is_gone(left.name.removeprefix(_beginning(path)).removesuffix(f".tmp{path.suffix}")):
            left.unlink(missing_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_unfinished(file: Path, path: Path) -> bool:
    """Whether ``file`` is what another process writes to replace ``path``, or left when it was killed over that."""
    return file.name.startswith(_beginning(path)) and file.name.endswith(f".tmp{path.suffix}")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left of files that :func:`replacing` was to replace.

    Args:
        folder: in which nobody else writes, because this process holds its lock.
    """
    for file in folder.glob(".*.tmp*"):
        if _UNFINISHED.fullmatch(file.name):
            file.unlink(missing_ok=True)


_UNFINISHED = re.compile(r"\..+\.(?:[\w-]+-)?\d+\.tmp(?:\.\w+)?")
"""Names that :func:`replacing` gives."""


def _beginning(path: Path) -> str:
    return f".{path.stem}."


def _this_process() -> str:
    """This process's name among all that may write to a disk that machines share."""
    return f"{_host()}-{os.getpid()}"


def _host() -> str:
    return re.sub(r"\W+", "_", socket.gethostname())


def _maker_is_gone(name: str) -> bool:
    """Say whether a process, as :func:`_this_process` names it, ran on this machine and has ended."""
    host, _, number = name.rpartition("-")
    if host != _host() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's
        return False
    return False


@contextmanager
def discarded(folder: Path) -> Iterator[Path]:
    """Make an empty folder with a name of this process's own beside ``folder``, and remove it in the end.

    What is complete in it is moved out of it, or it is renamed itself, which makes it appear all at once. What a
    process of this machine that was killed over the same has left is removed.
    """
    begun = f"{folder.name}.partial-"
    for left in folder.parent.glob(f"{glob.escape(begun)}*"):
        if _maker_is_gone(left.name.removeprefix(begun)):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f"{begun}{_this_process()}")
    made = [parent for parent in partial.parents if not parent.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # it holds something
                parent.rmdir()


def cannot_be_written(what: str, error: OSError, remedy: str) -> InputError | IncompleteRun:
    """Return what to raise where something cannot be written.

    Args:
        what: it is.
        error: why.
        remedy: where to write it instead.

    Returns:
        An :class:`IncompleteRun` where there is no room, which can be made, after which the same command goes on; else
        an :class:`InputError`: it is the wrong place.
    """
    reason = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return IncompleteRun(f"{reason} ({what}): mend that and start the same command to go on")
    return InputError(f"{what} cannot be written ({reason}): {remedy}")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, line feeds as they are; a reader sees the old content or the new."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def read_lines(path: Path) -> list[str]:
    """Return the whole lines of a log, without their line feeds.

    What follows the last line feed is left out: it is the beginning of a line whose writing was interrupted. No file
    counts as an empty log.
    """
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append whole lines and wait until they are on the disk.

    The log must end with a whole line: who goes on with it writes it anew first.
    """
    text = "".join(f"{line}\n" for line in lines)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def checksum(text: str) -> str:
    """Return eight digits that change when ``text`` is damaged; no protection against intent."""
    return f"{zlib.crc32(text.encode()):08x}"
