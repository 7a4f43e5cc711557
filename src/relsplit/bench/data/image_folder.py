"""Your own photographs: ``test/CLASS/*.jpg``, and to train ``train/CLASS/*.jpg`` (``val/CLASS/*.jpg``, too)."""

import os
from pathlib import Path

from PIL import Image

from relsplit.bench.data.catalogue import Catalogue, Sample, Split
from relsplit.bench.data.validation_split import NumVal, ValidationStyle, with_validation
from relsplit.errors import InputError
from relsplit.options import Seed, checked_options


@checked_options
def read_image_folder(
    root: str | Path | None,
    num_val: NumVal | None = None,
    val_style: ValidationStyle = "random",
    val_seed: Seed = 42,
) -> Catalogue:
    """Lists the images of a tree ``SPLIT/CLASS/IMAGE``, or ``CLASS/IMAGE`` where all are "test"; no image is opened.

    Classes are the names of the folders, sorted. What lies in them counts as an image by its ending (any that Pillow
    knows, in upper or lower case); what is hidden or ends otherwise is left out.

    Args:
        root: the folder that holds ``test/`` and, to train, ``train/``; or the class folders.
        num_val: the validation split that is cut from ``train/`` where there is no ``val/``, see
            :func:`relsplit.bench.data.validation_split.with_validation`.
        val_style: see ``num_val``.
        val_seed: see ``num_val``.

    Raises:
        InputError: the root or a split is missing, the splits have different classes, or a class has no images.
    """
    if root is None:
        raise InputError("dataset.root is not set: say dataset.root=FOLDER, the folder that holds train/ and test/")
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: set dataset.root to the folder that holds train/ and test/")
    places = _splits(root)
    first = next(iter(places))
    class_names = _folders(places[first])
    if not class_names:
        raise InputError(
            f"{places[first]} has no class folders: lay your photographs out as {first}/CLASS/*.jpg in {root}"
        )
    for split, place in places.items():
        differing = set(class_names) ^ set(_folders(place))
        if differing:
            name = min(differing)
            other, lacking = (split, first) if name not in class_names else (first, split)
            raise InputError(f"class {name} is in {root / other} but not in {root / lacking}: both need every class")
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    samples = []
    for split, place in places.items():
        for label, name in enumerate(class_names):
            files = _images(place / name, endings)
            if not files:
                raise InputError(f"{place / name} has no images: add some, or remove the class everywhere")
            samples += [Sample(f"{split}-{name}-{path.name}", path, label, split) for path in files]
    has_val = "val" in places or "train" not in places
    return Catalogue(tuple(class_names), with_validation(samples, 0 if has_val else num_val, val_seed, val_style), root)


def _splits(root: Path) -> dict[Split, Path]:
    """The folder of every split that there is, in the order train, val, test."""
    known: tuple[Split, ...] = ("train", "val", "test")
    found: dict[Split, Path] = {split: root / split for split in known if (root / split).is_dir()}
    if not found and _folders(root):
        return {"test": root}
    if "test" not in found:
        raise InputError(f"{root} has no folder test/: lay your photographs out as test/CLASS/*.jpg")
    return found


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path, endings: set[str]) -> list[Path]:
    # Whatever it is: of a link that leads nowhere, a folder or a pipe whoever reads it says that it is no image.
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    paths = [folder / name for name in names]
    return [path for path in paths if path.suffix.lower() in endings]
