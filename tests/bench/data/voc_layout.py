"""PASCAL VOC's official layout, generated: annotations of every size, images and masks where they are wanted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from relsplit.bench.data.voc import IMAGE_SETS, VOC_CLASS_NAMES

SIZE = (48, 40)  # width, height
Object = tuple[str, tuple[int, int, int, int], bool]
"""Class, corners that count from 1, difficult."""


def annotation(name: str, objects: Sequence[Object]) -> str:
    parts = "".join(
        f"<object><name>{of}</name><pose>Left</pose><truncated>0</truncated><difficult>{int(difficult)}</difficult>"
        f"<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        "</object>"
        for of, box, difficult in objects
    )
    return (
        f"<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename><source><database>The VOC2007 Database"
        f"</database></source><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
        f"<segmented>0</segmented>{parts}</annotation>\n"
    )


def drawn_objects(rng: np.random.Generator, classes: Sequence[str]) -> list[Object]:
    """One or two objects; the first is the largest."""
    first, second = rng.choice(len(classes), 2, replace=False)
    objects: list[Object] = [(classes[first], (3, 5, 26, 34), False)]
    if rng.random() < 0.5:
        objects.append((classes[second], (30, 10, 44, 24), False))
    return objects


def make_voc(
    root: Path, year: str = "2012", per_set: tuple[int, int] = (8, 8), images: bool = True, num_classes: int = 20
) -> Path:
    """``root/VOCdevkit/VOC<year>`` with so many images for training and for testing; every second one segmented."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main", "ImageSets/Segmentation", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    classes = VOC_CLASS_NAMES[:num_classes]
    for number, (image_set, count) in enumerate(zip(IMAGE_SETS[year].values(), per_set, strict=True)):
        names = [f"{year}_{number}{index:05d}" for index in range(count)]
        (folder / "ImageSets/Main" / f"{image_set}.txt").write_text("".join(f"{name}\n" for name in names))
        (folder / "ImageSets/Segmentation" / f"{image_set}.txt").write_text("".join(f"{n}\n" for n in names[::2]))
        for index, name in enumerate(names):
            objects = drawn_objects(rng, classes)
            (folder / "Annotations" / f"{name}.xml").write_text(annotation(name, objects))
            if images:
                _draw(folder, name, objects, rng, masked=index % 2 == 0)
    return folder


def _draw(folder: Path, name: str, objects: Sequence[Object], rng: np.random.Generator, masked: bool) -> None:
    pixels = rng.integers(0, 60, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    classes = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    for of, (left, top, right, bottom), _ in objects:
        label = VOC_CLASS_NAMES.index(of)
        here = slice(top - 1, bottom), slice(left - 1, right)
        pixels[here] = 70
        pixels[here][..., label % 3] = 170 + 20 * (label // 3 % 4)
        classes[here] = label + 1
        classes[top - 1, left - 1 : right] = 255  # the border belongs to no class
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
    if masked:
        mask = Image.fromarray(classes, mode="P")
        mask.putpalette([value for index in range(256) for value in (index, 255 - index, 128)])
        mask.save(folder / "SegmentationClass" / f"{name}.png")
