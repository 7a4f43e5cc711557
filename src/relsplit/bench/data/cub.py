"""CUB-200-2011 (Wah et al., 2011), and everything else that is laid out like it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from relsplit.bench.data.catalogue import Box, Catalogue, PartLocation, Sample, Split
from relsplit.bench.data.validation_split import NumVal, ValidationStyle, with_validation
from relsplit.errors import InputError
from relsplit.options import Seed, checked_options

T = TypeVar("T")


@checked_options
def read_cub(
    root: str | Path,
    num_val: NumVal | None = None,
    val_style: ValidationStyle = "random",
    val_seed: Seed = 42,
) -> Catalogue:
    """Reads the metadata of a ``CUB_200_2011`` folder; no image is opened.

    Segmentations are taken from ``segmentations/`` in the folder or, as they come in an archive of their own, beside
    it; where there are none, samples have none. Labels count from 0 here (from 1 in the files).

    Args:
        root: the folder that holds ``images.txt``, or the folder that holds ``CUB_200_2011/``.
        num_val: the validation split, see :func:`relsplit.bench.data.validation_split.with_validation`;
            the released code's choice is the default (600 random ones of the 5,994 official training images).
        val_style: see ``num_val``.
        val_seed: see ``num_val``.

    Raises:
        InputError: a file is missing, cut, or does not fit the others; names file and line.
    """
    root = Path(root)
    if not (root / "images.txt").is_file() and (root / "CUB_200_2011" / "images.txt").is_file():
        root = root / "CUB_200_2011"
    if not root.is_dir():
        raise InputError(
            f"there is no folder {root}: set dataset.root to the CUB_200_2011 folder, "
            "or fetch the data with `python scripts/get_cub.py`"
        )
    class_names = _class_names(root / "classes.txt")
    paths = _by_id(root / "images.txt", 1, _relative_path)
    ids = list(paths)
    labels = _for_every_image(root / "image_class_labels.txt", 1, ids, lambda f: _label(f[0], len(class_names)))
    in_train = _for_every_image(root / "train_test_split.txt", 1, ids, _flag)
    boxes = _for_every_image(root / "bounding_boxes.txt", 4, ids, _box)
    part_names = _part_names(root / "parts" / "parts.txt")
    parts = _part_locations(root / "parts" / "part_locs.txt", ids, len(part_names)) if part_names else {}
    masks = next((d for d in (root / "segmentations", root.parent / "segmentations") if d.is_dir()), None)

    samples = []
    for image_id in ids:
        split: Split = "train" if in_train[image_id] else "test"
        relative = paths[image_id]
        samples.append(
            Sample(
                sample_id=relative.stem,
                path=root / "images" / relative,
                label=labels[image_id],
                split=split,
                box=boxes[image_id],
                segmentation=None if masks is None else masks / relative.with_suffix(".png"),
                parts=parts.get(image_id, ()),
            )
        )
    return Catalogue(class_names, with_validation(samples, num_val, val_seed, val_style), root, part_names)


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path} is missing: the folder is no complete CUB-200-2011; fetch or extract it again")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file ({error}): extract the archive again") from error
    return text.splitlines()


def _by_id(path: Path, num_fields: int, parse: Callable[[list[str]], T]) -> dict[int, T]:
    """A file of lines ``<id> <field> ...`` as a mapping from id, in the file's order."""
    values: dict[int, T] = {}
    for number, line in enumerate(_lines(path), start=1):
        key, *fields = line.split() or [""]
        try:
            if len(fields) != num_fields:
                raise ValueError(
                    f"{len(fields)} fields after the id instead of {num_fields} in {line!r}; the file is damaged"
                )
            image_id = int(key)
            if image_id in values:
                raise ValueError(f"id {image_id} stands there twice")
            value = parse(fields)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        values[image_id] = value
    if not values:
        raise InputError(f"{path}, line 1: the file is empty; extract the archive again")
    return values


def _for_every_image(path: Path, num_fields: int, ids: list[int], parse: Callable[[list[str]], T]) -> dict[int, T]:
    values = _by_id(path, num_fields, parse)
    _check_ids(path, list(values), ids)
    return values


def _check_ids(path: Path, found: list[int], ids: list[int]) -> None:
    """Every annotation file lists the images of images.txt, in the same order."""
    for number, (one, other) in enumerate(zip(found, ids, strict=False), start=1):
        if one != other:
            raise InputError(f"{path}, line {number}: id {one} where images.txt has id {other}")
    if len(found) != len(ids):
        raise InputError(
            f"{path}, line {len(found)}: the file ends after {len(found)} images, but images.txt lists {len(ids)}"
            if len(found) < len(ids)
            else f"{path}, line {len(ids) + 1}: id {found[len(ids)]} is not in images.txt"
        )


def _class_names(path: Path) -> tuple[str, ...]:
    """``001.Black_footed_Albatross`` is class 0, named ``Black_footed_Albatross``."""
    numbered = _by_id(path, 1, lambda fields: fields[0])
    for place, number in enumerate(numbered, start=1):
        if number != place:
            raise InputError(f"{path}, line {place}: class {number} where class {place} belongs")
    return tuple(name.partition(".")[2] or name for name in numbered.values())


def _part_names(path: Path) -> tuple[str, ...]:
    """``1 back``; a folder without ``parts/`` has none."""
    if not path.is_file():
        return ()
    names: dict[int, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        key, _, name = line.strip().partition(" ")
        if key != str(number) or not name:
            raise InputError(f"{path}, line {number}: {line!r} where `{number} <name of the part>` belongs")
        names[int(key)] = name
    return tuple(names.values())


def _part_locations(path: Path, ids: list[int], num_parts: int) -> dict[int, tuple[PartLocation, ...]]:
    """Lines ``<image id> <part id> <x> <y> <visible>``, every part of every image in order."""
    lines = _lines(path)
    locations: dict[int, tuple[PartLocation, ...]] = {}
    current: list[PartLocation] = []
    for place, line in enumerate(lines):
        image, part = divmod(place, num_parts)
        try:
            if image >= len(ids):
                raise ValueError("it stands after the last image of images.txt")
            image_id, part_id, x, y, visible = line.split()
            if int(image_id) != ids[image] or int(part_id) != part + 1:
                raise ValueError(f"image {ids[image]}, part {part + 1} belongs here")
            location = PartLocation(part, float(x), float(y), _flag((visible,)))
            if not (math.isfinite(location.x) and math.isfinite(location.y)):
                raise ValueError("that is no place")
            current.append(location)
        except ValueError as error:
            raise InputError(
                f"{path}, line {place + 1}: {line!r} is not `<image> <part> <x> <y> <visible>` ({error})"
            ) from error
        if part == num_parts - 1:
            locations[ids[image]] = tuple(current)
            current = []
    if len(locations) < len(ids):
        raise InputError(f"{path}, line {len(lines)}: the file ends in the middle; extract the archive again")
    return locations


def _relative_path(fields: list[str]) -> Path:
    path = Path(fields[0])
    if path.is_absolute() or ".." in path.parts or len(path.parts) != 2 or not path.suffix:
        raise ValueError(f"{fields[0]!r} is not a path of the form CLASS/NAME.jpg; the file is damaged")
    return path


def _label(field: str, num_classes: int) -> int:
    label = int(field)
    if not 1 <= label <= num_classes:
        raise ValueError(f"label {label} is outside of 1 to {num_classes}, the classes of classes.txt")
    return label - 1


def _flag(fields: Sequence[str]) -> bool:
    if fields[0] not in ("0", "1"):
        raise ValueError(f"{fields[0]!r} where 0 or 1 belongs")
    return fields[0] == "1"


def _box(fields: list[str]) -> Box:
    x, y, width, height = (float(field) for field in fields)
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError(f"a bounding box {' '.join(fields)} that is no box")
    if width <= 0 or height <= 0:
        raise ValueError(f"a bounding box of {width} x {height} pixels")
    return x, y, width, height
