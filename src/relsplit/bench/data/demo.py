"""Demo data: drawn birds written in exactly the layout of CUB-200-2011, and read like it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from rich.progress import track

from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.cub import read_cub
from relsplit.bench.data.demo_bird import PART_NAMES, SPECIES
from relsplit.bench.data.demo_picture import draw_picture
from relsplit.bench.data.validation_split import NumVal, ValidationStyle
from relsplit.bench.machine.logs import cannot_be_written
from relsplit.errors import InputError
from relsplit.files import discarded
from relsplit.options import Limits, Seed, checked_options

IMAGE_SIZE = 64
PerSpecies = Annotated[int, Limits(minimum=1, maximum=10_000)]
STAMP = "demo.json"
# To be raised whenever the same parameters give other pictures.
_GENERATOR_VERSION = 1


@checked_options
def demo_catalogue(
    root: str | Path,
    seed: Seed = 0,
    train_per_species: PerSpecies = 100,
    test_per_species: PerSpecies = 20,
    num_val: NumVal | None = None,
    val_style: ValidationStyle = "stratified",
    val_seed: Seed = 42,
) -> Catalogue:
    """The demo data in ``root``, drawn now if they are not there; see :func:`generate_demo` and :func:`read_cub`."""
    generate_demo(root, seed, train_per_species, test_per_species)
    return read_cub(root, num_val, val_style, val_seed)


@checked_options
def generate_demo(root: str | Path, seed: Seed, train_per_species: PerSpecies, test_per_species: PerSpecies) -> None:
    """Writes a ``CUB_200_2011``-like folder of drawn birds; equal parameters give byte-identical folders.

    The folder appears all at once when it is complete. A folder that holds the same data already is left as it is.

    Args:
        root: the folder to make.
        seed: of every picture and of the split.
        train_per_species: how many pictures to draw of each of the 12 species.
        test_per_species: see ``train_per_species``.

    Raises:
        InputError: ``root`` holds something else, or cannot be written, or a count is not positive.
    """
    root = Path(root)
    stamp = {
        "generator_version": _GENERATOR_VERSION,
        "seed": seed,
        "train_per_species": train_per_species,
        "test_per_species": test_per_species,
    }
    if _holds(root, stamp):
        return
    try:
        with discarded(root.with_name(f".{root.name}")) as partial:
            _write_tree(partial, seed, train_per_species, test_per_species)
            (partial / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
            try:
                partial.replace(root)
            except OSError:
                # Another process may have finished the same data first.
                if not _holds(root, stamp):
                    raise
    except OSError as error:
        raise cannot_be_written(f"the folder {root} of the demo data", error, "say dataset.root=<folder>") from error


def _holds(root: Path, stamp: dict[str, int]) -> bool:
    """Whether the folder holds these data; False where it is missing or empty."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: set dataset.root to where the demo data may be written")
    if not any(root.iterdir()):
        return False
    try:
        found = json.loads((root / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{root} is not empty and holds no demo data: set dataset.root to another folder") from None
    if found != stamp:
        raise InputError(
            f"{root} holds demo data of other parameters ({found} instead of {stamp}): "
            "delete it, or set dataset.root to another folder"
        )
    return True


@dataclass(frozen=True)
class _Entry:
    """One picture to draw: ids as in the files, from 1."""

    image_id: int
    species: int
    number: int
    in_train: bool

    @property
    def class_folder(self) -> str:
        return f"{self.species:03d}.{SPECIES[self.species - 1].name}"

    @property
    def stem(self) -> str:
        return f"{self.class_folder}/{SPECIES[self.species - 1].name}_{self.number:04d}_{self.image_id}"


def _entries(seed: int, train_per_species: int, test_per_species: int) -> Iterator[_Entry]:
    each = train_per_species + test_per_species
    for species in range(1, len(SPECIES) + 1):
        order = np.random.default_rng([seed, species]).permutation(each)
        for number in range(1, each + 1):
            in_train = bool(order[number - 1] < train_per_species)
            yield _Entry((species - 1) * each + number, species, number, in_train)


def _write_tree(root: Path, seed: int, train_per_species: int, test_per_species: int) -> None:
    entries = list(_entries(seed, train_per_species, test_per_species))
    for folder in ("images", "segmentations"):
        for entry in entries:
            (root / folder / entry.class_folder).mkdir(parents=True, exist_ok=True)
    (root / "parts").mkdir()
    annotations = [_draw(root, seed, entry) for entry in track(entries, description="Drawing demo birds")]

    tables: dict[str, list[str]] = {
        "images.txt": [f"{e.image_id} {e.stem}.jpg" for e in entries],
        "image_class_labels.txt": [f"{e.image_id} {e.species}" for e in entries],
        "train_test_split.txt": [f"{e.image_id} {int(e.in_train)}" for e in entries],
        "classes.txt": [f"{place} {place:03d}.{one.name}" for place, one in enumerate(SPECIES, start=1)],
        "bounding_boxes.txt": [f"{e.image_id} {box}" for e, (box, _) in zip(entries, annotations, strict=True)],
        "parts/parts.txt": [f"{place} {name}" for place, name in enumerate(PART_NAMES, start=1)],
        "parts/part_locs.txt": [
            f"{e.image_id} {place} {part}"
            for e, (_, parts) in zip(entries, annotations, strict=True)
            for place, part in enumerate(parts, start=1)
        ],
    }
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _draw(root: Path, seed: int, entry: _Entry) -> tuple[str, list[str]]:
    """Writes one picture and its mask; returns its bounding box and its parts as the files give them."""
    rng = np.random.default_rng([seed, entry.species, entry.number])
    picture = draw_picture(SPECIES[entry.species - 1], IMAGE_SIZE, rng)
    Image.fromarray(picture.image).save(root / "images" / f"{entry.stem}.jpg", quality=95, subsampling=0)
    mask = Image.fromarray(picture.mask.astype(np.uint8) * 255)
    mask.save(root / "segmentations" / f"{entry.stem}.png")
    rows, columns = np.nonzero(picture.mask)
    x, y = columns.min(), rows.min()
    box = f"{x:.1f} {y:.1f} {columns.max() + 1 - x:.1f} {rows.max() + 1 - y:.1f}"
    parts = [f"{px:.1f} {py:.1f} {int(seen)}" for px, py, seen in (picture.parts[name] for name in PART_NAMES)]
    return box, parts
