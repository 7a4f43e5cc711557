"""PASCAL VOC 2007 and 2012 (Everingham et al., 2010): photographs of one or several objects of 20 classes."""

from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from torchvision.datasets import VOCDetection, VOCSegmentation

from relsplit.bench.data.catalogue import Box, Catalogue, Sample, Split
from relsplit.bench.data.validation_split import NumVal, ValidationStyle, with_validation
from relsplit.errors import InputError
from relsplit.options import Seed, checked_options

VOC_CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
Year = Literal["2007", "2012"]
IMAGE_SETS: dict[str, dict[Split, str]] = {
    "2007": {"train": "trainval", "test": "test"},
    "2012": {"train": "train", "test": "val"},  # the test annotations were never published
}
_LABELS = {name: label for label, name in enumerate(VOC_CLASS_NAMES)}


@checked_options
def read_voc(
    root: str | Path,
    year: Year = "2012",
    single_object_only: bool = False,
    num_val: NumVal | None = None,
    val_style: ValidationStyle = "random",
    val_seed: Seed = 42,
) -> Catalogue:
    """Reads the annotations of ``VOCdevkit/VOC<year>``; no image is opened.

    An image shows several objects, so it has all their classes (``Sample.labels``), which training learns. What is
    explained and scored is one of them, ``Sample.label``: the class of the largest bounding box. Its regions are all
    boxes of that class, and all pixels of that class where the image is segmented. Objects marked as difficult count
    only where there are no others.

    Args:
        root: the folder that holds ``VOCdevkit/``.
        year: 2012 trains on the official "train" and tests on "val"; 2007 on "trainval" and "test".
        single_object_only: of the split "test", only images with a single object.
        num_val: the validation split, see :func:`relsplit.bench.data.validation_split.with_validation`.
        val_style: see ``num_val``.
        val_seed: see ``num_val``.

    Raises:
        InputError: a folder or file is missing, an annotation is damaged, names a class that VOC does not have, or
            names no object.
    """
    root = Path(root)
    folder = root / "VOCdevkit" / f"VOC{year}"
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}: set dataset.root to the folder that holds VOCdevkit/, or fetch the data "
            f"with `python scripts/get_voc.py --year {year}`"
        )
    samples: list[Sample] = []
    for split, image_set in IMAGE_SETS[year].items():
        images, annotations = _listed(VOCDetection, root, year, image_set)
        segmented = folder / "ImageSets" / "Segmentation" / f"{image_set}.txt"
        masks = _listed(VOCSegmentation, root, year, image_set)[1] if segmented.is_file() else []
        mask_of = {path.stem: path for path in masks}
        for image, annotation in zip(images, annotations, strict=True):
            objects = _objects(annotation)
            if split == "test" and single_object_only and len(objects) > 1:
                continue
            samples.append(_sample(image, split, objects, mask_of.get(image.stem)))
    if not any(sample.split == "test" for sample in samples):
        raise InputError(f"{folder}: no image of {IMAGE_SETS[year]['test']!r} is left to be evaluated")
    return Catalogue(VOC_CLASS_NAMES, with_validation(samples, num_val, val_seed, val_style), folder)


def _listed(
    kind: type[VOCDetection] | type[VOCSegmentation], root: Path, year: Year, image_set: str
) -> tuple[list[Path], list[Path]]:
    """Images and annotations (or masks) of an official image set."""
    try:
        listed = kind(str(root), year=year, image_set=image_set)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"VOC{year} in {root} has no image set {image_set!r} ({reason}): extract it again") from error
    return [Path(path) for path in listed.images], [Path(path) for path in listed.targets]


def _objects(path: Path) -> list[tuple[int, Box]]:
    """(label, box) of every object that counts."""
    try:
        content: dict[str, Any] = VOCDetection.parse_voc_xml(ElementTree.parse(path).getroot())["annotation"]
        named = content.get("object", [])
        found = [(each["name"], _box(each["bndbox"]), each.get("difficult") == "1") for each in named]
    except FileNotFoundError:
        raise InputError(f"{path} is missing: the folder has no annotations; extract the archive again") from None
    except (OSError, ElementTree.ParseError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}): extract the archive again") from error
    for name, _, _ in found:
        if name not in _LABELS:
            raise InputError(f"{path}: {name!r} is none of VOC's 20 classes ({', '.join(VOC_CLASS_NAMES)})")
    if not found:
        raise InputError(f"{path} names no object: take the image out of the lists in ImageSets/Main")
    plain = [(_LABELS[name], box) for name, box, difficult in found if not difficult]
    return plain or [(_LABELS[name], box) for name, box, _ in found]


def _box(corners: dict[str, str]) -> Box:
    """Corners count from 1 and belong to the box."""
    left, top, right, bottom = (float(corners[name]) for name in ("xmin", "ymin", "xmax", "ymax"))
    if not (right >= left and bottom >= top):
        raise ValueError(f"a bounding box from ({left}, {top}) to ({right}, {bottom})")
    return left - 1, top - 1, right - left + 1, bottom - top + 1


def _sample(image: Path, split: Split, objects: list[tuple[int, Box]], mask: Path | None) -> Sample:
    by_area = sorted(objects, key=lambda each: each[1][2] * each[1][3], reverse=True)
    label, box = by_area[0]
    return Sample(
        sample_id=image.stem,
        path=image,
        label=label,
        split=split,
        box=box,
        other_boxes=tuple(other for of, other in by_area[1:] if of == label),
        segmentation=mask,
        segmentation_value=None if mask is None else label + 1,
        labels=tuple(sorted({of for of, _ in objects})),
    )
