"""What a dataset is to the rest of the package: a list of labelled image files with their annotations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from relsplit.errors import InputError

Split = Literal["train", "val", "test"]
Box = tuple[float, float, float, float]


class PartLocation(NamedTuple):
    """One annotated body part: ``part`` counts from 0 into ``Catalogue.part_names``; x and y in stored-image pixels."""

    part: int
    x: float
    y: float
    visible: bool


@dataclass(frozen=True)
class Sample:
    """One labelled image file.

    Attributes:
        sample_id: unique within the catalogue, and free of path separators, so that it can name a file.
        path: the image file.
        label: class index, 0 to ``num_classes - 1``.
        split: the split that the sample belongs to.
        box: (x, y, width, height) of the object in stored-image pixels, None where the dataset has none.
        segmentation: the object's mask as a greyscale image of the stored image's size, None where there is none.
        parts: locations of the object's parts, empty where the dataset has none.
        segmentation_value: None, or what the pixels of ``label`` have in ``segmentation``, which then is an image of
            class indices.
        other_boxes: of further objects of the class ``label``.
        labels: all classes that the image shows, where it may show several; empty where ``label`` is the only one.
    """

    sample_id: str
    path: Path
    label: int
    split: Split
    box: Box | None = None
    segmentation: Path | None = None
    parts: tuple[PartLocation, ...] = ()
    segmentation_value: int | None = None
    other_boxes: tuple[Box, ...] = ()
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """All samples of a dataset.

    Attributes:
        class_names: name of every class, by label.
        samples: in the dataset's own order.
        root: the folder that image paths are given relative to, in manifests and records.
        part_names: name of every part, by ``PartLocation.part``; empty where the dataset has none.
    """

    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    root: Path
    part_names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in (*self.class_names, *(str(sample.path) for sample in self.samples)):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{name!r} is no UTF-8: rename the file, the folder or the class") from None
            if "\r" in name:  # readers of CSV files take it for the end of a line
                raise InputError(f"{name!r} holds a carriage return: rename the file, the folder or the class")
        first: dict[str, Path] = {}
        for sample in self.samples:
            other = first.setdefault(sample.sample_id, sample.path)
            if other is not sample.path:
                raise InputError(
                    f"{sample.path} and {other} would share the sample id {sample.sample_id!r}: rename one of them"
                )

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        """Whether an image may show several classes."""
        return any(sample.labels for sample in self.samples)

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split ("train", "val" or "test"), in the dataset's order; empty where there are none."""
        return tuple(sample for sample in self.samples if sample.split == name)

    def relative_path(self, sample: Sample) -> str:
        """The sample's path relative to the root, with forward slashes on every system."""
        return sample.path.relative_to(self.root).as_posix()
