"""Logs that are appended line by line, what notices damage in them, and what is said where there is no room."""

import errno
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

from relsplit.errors import IncompleteRun, InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that is full, for all or for this user, and of a file that may not become larger."""


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


def read_lines(path: Path) -> list[str]:
    """Return the whole lines of a log, without their line feeds.

    What follows the last line feed is left out: it is the beginning of a line whose writing was interrupted. No file
    counts as an empty log.
    """
    return read_text(path).split("\n")[:-1]


def read_text(path: Path) -> str:
    """Return what a log holds, if it is there; bytes that are no text stay visible, so that their line is damaged."""
    return path.read_text(encoding="utf-8", errors="backslashreplace") if path.is_file() else ""


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
