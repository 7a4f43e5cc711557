"""The folder of a run: one process at a time works in it, and it belongs to one configuration."""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from relsplit.bench.configuration.identity import Identity, flatten, setting_of
from relsplit.bench.machine.logs import cannot_be_written
from relsplit.bench.machine.terminal import say
from relsplit.errors import IncompleteRun, InputError
from relsplit.files import is_unfinished, remove_unfinished, write_text

CONFIG, LOCK, DASHBOARD = "config.yaml", ".lock", "wandb"
MOST_NESTED, MOST_SETTINGS = 50, 100_000
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""``yaml.safe_load`` with LibYAML, where PyYAML was built with it: ten times faster."""


@contextmanager
def holding(folder: Path, waiting: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder; it is made for that, and is gone again in the end if nothing was put in it.

    It may stay, empty, where another process has waited for it.

    What killed processes have left of files that they were writing is removed.

    Args:
        folder: where this process is going to work.
        waiting: whether to wait until another process that works in it has ended, and say so.

    Raises:
        InputError: another process works in it (it is named), the folder cannot be made, or something in it is no file.
        IncompleteRun: (in the end) the folder was renamed or removed in the meantime, with what was written to it.
    """
    made = _make(folder)
    path = folder / LOCK
    lock = FileLock(path, timeout=0)
    held = 0
    moved = IncompleteRun(
        f"{folder} was renamed or removed while the run went on: put it back and start the same command, which goes on"
    )
    try:
        try:
            _acquire(lock, folder, made, timeout=0)
        except Timeout:
            if not waiting:
                raise InputError(
                    f"{folder} is in use{_holder(path)}: wait until that run has ended, or choose another output_dir"
                ) from None
            say(f"waiting until {folder} is no longer in use{_holder(path)}")
            _acquire(lock, folder, made, timeout=-1)
        except OSError as error:
            raise unwritable(folder, error) from error
        held = path.stat().st_ino
        with suppress(OSError):  # only words for others; the lock holds without them
            path.write_text(_who(), encoding="utf-8")
        _check_files(folder)
        remove_unfinished(folder)
        try:
            yield
        except FileNotFoundError as error:
            if not _is_file(path, held):
                raise moved from error
            raise
        if not _is_file(path, held):
            raise moved
    finally:
        if lock.is_locked:
            if not (folder / CONFIG).exists():  # nothing was achieved
                shutil.rmtree(folder / DASHBOARD, ignore_errors=True)
            with suppress(OSError):
                if _is_file(path, held):  # else it is of somebody who works in a new folder of this name
                    path.unlink()  # while it is held: who waits for it makes a new one
            lock.release()
        for each in made:
            with suppress(OSError):  # it holds something
                each.rmdir()


def _acquire(lock: FileLock, folder: Path, made: list[Path], timeout: float) -> None:
    """Acquire the lock of a folder; who held it and achieved nothing may have removed the folder: it is made again.

    Args:
        lock: a file in the folder.
        folder: that is locked.
        made: folders that this process has made; what is made here comes before them.
        timeout: in seconds, -1 for none.

    Raises:
        Timeout: somebody else holds it.
        OSError: the file cannot be written.
        InputError: the folder cannot be made.
    """
    while True:
        try:
            lock.acquire(timeout=timeout)
            return
        except FileNotFoundError:
            if folder.exists():
                raise
            made[:0] = _make(folder)


def check_folder(folder: Path, identity: Identity) -> None:
    """Check that a run of this identity may go on, or begin, in ``folder``; nothing is written.

    Raises:
        InputError: the folder holds something else, or a run of another configuration (the keys that differ are named).
    """
    others = _others(folder)
    if (folder / CONFIG).exists():  # asked after the look at the files: another process of this run writes it first
        _refuse_other(folder, Identity(read_config(folder)), identity)
    elif others:
        raise InputError(
            f"output_dir {folder} holds other files ({others[0]}) and no {CONFIG}: choose another output_dir"
        )


def belongs_to(folder: Path, identity: Identity) -> bool:
    """Say whether a folder is of a run of this identity; False where it is nobody's, or says nothing readable."""
    try:
        return Identity(read_config(folder)).deciding == identity.deciding
    except InputError:
        return False


def claim_folder(folder: Path, identity: Identity) -> None:
    """Make the folder that of a run of this identity: write its ``config.yaml``.

    Raises:
        InputError: as :func:`check_folder`, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_folder(folder, identity)
        write_text(folder / CONFIG, yaml.safe_dump(identity.written(), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise unwritable(folder, error) from error


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that a folder belongs to.

    Raises:
        InputError: its ``config.yaml`` is missing or damaged.
    """
    file = folder / CONFIG
    if file.exists():
        _check_file(file)
    try:
        config = yaml.load(file.read_text(encoding="utf-8"), Loader=FAST_LOADER)
    except FileNotFoundError:
        raise InputError(
            f"{folder} has no {CONFIG}: restore it, or delete the folder and start its run again"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{file} is damaged ({_short(error)}): restore it, or choose another output_dir") from error
    if not isinstance(config, dict) or not _is_small_tree(config):
        raise InputError(f"{file} is damaged (no mapping of settings): restore it, or choose another output_dir")
    return config


def unwritable(folder: Path, error: OSError) -> InputError | IncompleteRun:
    """Say that an ``output_dir`` cannot be written, and why."""
    return cannot_be_written(f"output_dir {folder}", error, "choose another with output_dir=<folder>")


def _make(folder: Path) -> list[Path]:
    """Make a folder; return what was made, the innermost first."""
    missing: list[Path] = []
    try:
        missing += [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise unwritable(folder, error) from error
    return missing


def _others(folder: Path) -> list[str]:
    """Return the names of what is no part of the claim to a folder: neither lock, dashboard nor configuration."""
    files = folder.iterdir() if folder.is_dir() else ()
    own = {LOCK, DASHBOARD, CONFIG}
    return sorted(file.name for file in files if file.name not in own and not is_unfinished(file, folder / CONFIG))


def _check_files(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.exists() and not path.is_dir():
            _check_file(path)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is no file (a pipe, say, which would be waited for): remove it and start again")


def _is_file(path: Path, number: int) -> bool:
    """Say whether a path leads to the file of this number, and no other of the same name."""
    try:
        return path.stat().st_ino == number
    except OSError:
        return False


def _who() -> str:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": now})


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f" by process {who['process']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return " by another process"


def _is_small_tree(content: Any) -> bool:
    """Say whether nested containers end: with ``*name`` YAML puts a mapping into itself, or a list into lists of it."""
    waiting, seen = [(content, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        seen += 1
        if depth > MOST_NESTED or seen > MOST_SETTINGS:
            return False
        children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting += [(child, depth + 1) for child in children]
    return True


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _difference(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get(key) == new.get(key):  # a file, or a variable of the environment, of which digests are known
        return f"{key}={old.get(key)} holds something else now"
    return f"{key} was {old.get(key)!r}, now {new.get(key)!r}"


def _refuse_other(folder: Path, before: Identity, now: Identity) -> None:
    old, new = before.deciding, now.deciding
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    differing = list(dict.fromkeys(setting_of(key) for key in keys))
    if differing:
        was, is_now = flatten(before.written()), flatten(now.written())
        shown = "; ".join(_difference(key, {**was, **old}, {**is_now, **new}) for key in differing[:4])
        more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise InputError(
            f"output_dir {folder} was made with another configuration ({shown}{more}): "
            "choose another output_dir or the same settings"
        )
