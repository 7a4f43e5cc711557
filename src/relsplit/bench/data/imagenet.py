"""The ILSVRC2012 validation set, from the official archives or from a tree that is already unpacked."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from torchvision.datasets.imagenet import (
    ARCHIVE_META,
    META_FILE,
    load_meta_file,
    parse_devkit_archive,
    parse_val_archive,
)

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.imagenet_classes import IMAGENET_CLASS_NAMES, IMAGENET_WNIDS
from relsplit.errors import InputError
from relsplit.files import discarded, write_text

VAL_ARCHIVE, DEVKIT_ARCHIVE = ARCHIVE_META["val"][0], ARCHIVE_META["devkit"][0]
HOW_TO_GET = (
    f"put the official archives {VAL_ARCHIVE} and {DEVKIT_ARCHIVE} (image-net.org, after registration) into it, "
    "or an unpacked val/ folder"
)
_LABELS = {wnid: label for label, wnid in enumerate(IMAGENET_WNIDS)}
_WNID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")
_ENDINGS = (".jpeg", ".jpg", ".png")


def read_imagenet(root: str | Path, cache_dir: str | Path | None = None) -> Catalogue:
    """Lists the validation images, all in the split "test" (as in the paper); no image is opened.

    ``root``, or ``root/val`` if there is one, may hold: folders named by wnid; flat files with a wnid in their names
    (``n01440764_tench.JPEG``, ``ILSVRC2012_val_00000293_n01440764.JPEG``); or flat files with the official names
    (``ILSVRC2012_val_00000001.JPEG``), whose ground truth is taken from the development kit's archive in ``root``.
    Where only the archives are in ``root``, torchvision unpacks them into ``root/val`` first. Any part of the images
    will do; a label is always the place of the wnid among all 1,000.

    Args:
        root: as above.
        cache_dir: where the list is kept between runs, until a folder of the tree changes; None: nowhere.

    Raises:
        InputError: nothing usable is there, a wnid is unknown, or an image has no label.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: set dataset.root, and {HOW_TO_GET}")
    if not (root / "val").is_dir() and (root / VAL_ARCHIVE).is_file():
        _unpack(root)
    folder = root / "val" if (root / "val").is_dir() else root
    cache = None if cache_dir is None else _cache_path(Path(cache_dir), folder)
    fingerprint = "" if cache is None else _fingerprint(root, folder)
    files = None if cache is None else _cached(cache, fingerprint)
    if files is None:
        files = _labelled_files(root, folder)
        if cache is not None:
            _store(cache, fingerprint, files)
    samples = tuple(
        Sample(name.rpartition("/")[2].rpartition(".")[0], folder / name, label, "test") for name, label in files
    )
    return Catalogue(IMAGENET_CLASS_NAMES, samples, folder)


def _unpack(root: Path) -> None:
    """Both archives through torchvision, which checks their md5 sums; ``val/`` appears when it is complete."""
    console = Console(stderr=True)
    try:
        with (
            console.status(f"Checking and unpacking {VAL_ARCHIVE} (some minutes, once)"),
            discarded(root / ".val") as val,
        ):
            _parse_devkit(root)
            parse_val_archive(root, folder=val.name)
            val.replace(root / "val")
    except (RuntimeError, OSError) as error:
        raise InputError(f"cannot unpack {root / VAL_ARCHIVE}: {' '.join(str(error).split())}") from error


def _parse_devkit(root: Path) -> None:
    if not (root / META_FILE).is_file():
        if not (root / DEVKIT_ARCHIVE).is_file():
            raise InputError(f"{root} has no {DEVKIT_ARCHIVE}, which holds the ground truth: {HOW_TO_GET}")
        parse_devkit_archive(root)


def _labelled_files(root: Path, folder: Path) -> list[tuple[str, int]]:
    """(path relative to the folder, label), in the order of the paths."""
    with os.scandir(folder) as entries:
        names = sorted((entry.name, entry.is_dir()) for entry in entries)
    wnid_folders = [name for name, is_folder in names if is_folder and _WNID.fullmatch(name)]
    if wnid_folders:
        return [(f"{wnid}/{name}", _label(wnid, folder)) for wnid in wnid_folders for name in _images(folder / wnid)]
    images = _images(folder)
    if not images:
        raise InputError(f"{folder} holds no images: {HOW_TO_GET}")
    if all(_NUMBER.search(name) and not _WNID.search(name) for name in images):
        return _from_ground_truth(root, folder, images)
    labelled = []
    for name in images:
        wnid = _WNID.search(name)
        if wnid is None:
            raise InputError(f"{folder / name} has no wnid (n and eight digits) in its name, so its class is unknown")
        labelled.append((name, _label(wnid.group(), folder)))
    return labelled


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith(_ENDINGS))


def _label(wnid: str, folder: Path) -> int:
    if wnid not in _LABELS:
        raise InputError(f"{folder}: {wnid} is none of the 1,000 classes of ILSVRC2012")
    return _LABELS[wnid]


def _from_ground_truth(root: Path, folder: Path, images: Sequence[str]) -> list[tuple[str, int]]:
    try:
        _parse_devkit(root)
        wnids: list[str] = load_meta_file(root)[1]
    except RuntimeError as error:
        raise InputError(f"cannot read the ground truth in {root}: {' '.join(str(error).split())}") from error
    labelled = []
    for name in images:
        match = _NUMBER.search(name)
        number = int(match.group(1)) if match else 0
        if not 1 <= number <= len(wnids):
            raise InputError(f"{folder / name}: image {number} is not among the {len(wnids)} of the ground truth")
        labelled.append((name, _label(wnids[number - 1], root)))
    return labelled


def _cache_path(cache_dir: Path, folder: Path) -> Path:
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return cache_dir / f"imagenet-{place}.json"


def _fingerprint(root: Path, folder: Path) -> str:
    """Changes whenever a file is added to the tree, renamed or removed, as that touches the folder it lies in."""
    with os.scandir(folder) as entries:
        folders = [(entry.name, entry.stat().st_mtime_ns) for entry in entries if entry.is_dir()]
    truths = [path for path in (root / META_FILE, root / DEVKIT_ARCHIVE) if path.is_file()]
    state = [folder.stat().st_mtime_ns, sorted(folders), [(path.name, path.stat().st_mtime_ns) for path in truths]]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _cached(cache: Path, fingerprint: str) -> list[tuple[str, int]] | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["fingerprint"] == fingerprint:
            return list(zip(content["files"], content["labels"], strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no cache, or none that can be used: the tree is listed afresh
    return None


def _store(cache: Path, fingerprint: str, files: Sequence[tuple[str, int]]) -> None:
    content = {"fingerprint": fingerprint, "files": [name for name, _ in files], "labels": [y for _, y in files]}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps(content))
    except OSError:
        pass  # a read-only place costs the next start some time, nothing else
