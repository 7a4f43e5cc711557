"""A file that grows line by line and survives being killed between any two bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_lines(path: Path) -> list[str]:
    """The whole lines of a log, without their line feeds.

    What follows the last line feed is left out: it is the beginning of a line whose writing was interrupted. No file
    counts as an empty log.
    """
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append whole lines and wait until they are on the disk.

    The log must end with a whole line: :func:`replace_lines` sees to that when a run starts.
    """
    text = "".join(f"{line}\n" for line in lines)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_lines(path: Path, lines: Sequence[str]) -> None:
    """Replace the whole log atomically."""
    write_atomically(path, "".join(f"{line}\n" for line in lines))
