"""Writing files and folders so that a reader sees all of them or nothing."""

import glob
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path``; a reader sees the old content or the new.

    For what a library makes: into memory first, because many take an error of the disk for one of their own.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, line feeds as they are; a reader sees the old content or the new."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
