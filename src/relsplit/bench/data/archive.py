"""Unpacking an archive that a stranger may have made."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rich.markup import escape
from rich.progress import track

from relsplit.bench.machine.logs import NO_ROOM, cannot_be_written
from relsplit.errors import InputError
from relsplit.files import discarded


def extract(archive: Path, folder: Path, content: str) -> Path:
    """Unpack the folder ``content`` of a tar archive to ``folder/content``, which appears when it is complete.

    Only plain files and folders are unpacked, with ordinary permissions. Everything in the archive is checked before
    anything is kept.

    Args:
        archive: a tar file, compressed or not.
        folder: where to unpack; made if need be.
        content: name of the top folder to keep; other things beside it are checked, but left out.

    Returns:
        ``folder/content``.

    Raises:
        InputError: the archive is damaged or lacks the folder, a member's path is absolute or leads out of the archive
            (``..``), a member is a link or a device, or ``folder/content`` exists already.
    """
    target = folder / content
    if archive.exists() and not archive.is_file():  # reading from a FIFO would wait for somebody to write to it
        raise InputError(f"cannot unpack {archive} to {folder}: it is no file")
    if target.exists():
        raise InputError(f"{target} exists already: delete it to unpack {archive.name} again")
    try:
        with discarded(folder / f".{content}") as partial:
            with tarfile.open(archive) as tar:
                said = f"Unpacking {escape(archive.name)}"
                for member in track(_checked(archive, tar), description=said, total=None):
                    _extract_member(tar, member, partial)
            if not (partial / content).is_dir():
                raise InputError(f"{archive} has no folder {content}/: it is another archive")
            (partial / content).replace(target)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise cannot_be_written(str(target), error, "") from error
        raise InputError(f"cannot unpack {archive} to {folder}: {error}") from error
    return target


def _checked(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise InputError(f"{archive} holds {member.name!r}, which leads out of the folder: do not trust this file")
        if not (member.isfile() or member.isdir()):
            kind = "a link" if member.issym() or member.islnk() else "a device"
            raise InputError(f"{archive} holds {member.name!r}, which is {kind}: do not trust this file")
        if "\0" in member.name or member.issparse():  # a sparse file of a few bytes may fill a disk
            kind = "a sparse file" if member.issparse() else "no name"
            raise InputError(f"{archive} holds {member.name!r}, which is {kind}: do not trust this file")
        yield member


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder / member.name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None, "checked to be a file"
    with source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
