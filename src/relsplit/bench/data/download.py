"""Fetching one large file, in as many attempts as it takes."""

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from relsplit.errors import InputError

_CHUNK = 1 << 20


def download(url: str, path: Path, md5: str, timeout: float = 60.0) -> None:
    """Downloads a file with a progress bar; an interrupted download is continued when it is called again.

    What has arrived is kept in ``<path>.part``; the file gets its name when it is complete and its md5 sum is right.
    A file that is there already is only checked.

    Args:
        url: where it comes from (http, https).
        path: where it goes; folders are made.
        md5: the sum that it must have, as hexadecimal digits.
        timeout: seconds without any data after which an attempt ends.

    Raises:
        InputError: the server cannot be reached or refuses, the connection breaks, or the sum is wrong.
    """
    if path.is_file():
        check_md5(path, md5)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _fetch(url, part, timeout)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}; fetch the file by hand") from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url}: {reason}; run the command again to continue the download") from error
    check_md5(part, md5)
    part.replace(path)


def check_md5(path: Path, md5: str) -> None:
    """Raises :class:`InputError` where the file's md5 sum is not the given one."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != md5:
        raise InputError(f"{path} has the md5 sum {digest.hexdigest()} instead of {md5}: delete it and fetch it again")


def _fetch(url: str, part: Path, timeout: float) -> None:
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "relsplit"}  # some servers refuse Python's default one
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # there is nothing after what we have: it is complete
            return
        raise
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with response, Progress(*columns, TimeRemainingColumn()) as progress:
        if response.status != 206:  # the server sends the whole file, whatever was asked
            have = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        task = progress.add_task(escape(part.stem), completed=have, total=total)
        with part.open("ab" if have else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")
