"""Samples as datasets of tensors, for training and for evaluation."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.image_reading import BadImage, read_file, read_image, read_mask
from relsplit.bench.data.piped import as_arrays, as_tensors
from relsplit.bench.data.transforms import EvaluationTransform, box_mask
from relsplit.options import checked_options

OnBadImage = Literal["error", "skip"]


def class_index(sample: Sample) -> int:
    """Return what a network learns of an image of one class."""
    return sample.label


@dataclass(frozen=True)
class ClassIndicators:
    """What a network learns of an image of several classes: (num_classes,) float, 1 for each that it shows."""

    num_classes: int

    def __call__(self, sample: Sample) -> Tensor:
        """Return the indicators of a sample."""
        indicators = torch.zeros(self.num_classes)
        indicators[list(sample.labels or (sample.label,))] = 1
        return indicators


class ImageDataset(Dataset[tuple[Tensor, int | Tensor]]):
    """(image (3, H, W) float, target) of every sample, for training.

    An item is addressed by ``(epoch, index)`` or by ``index`` (epoch 0). What the transform draws depends on
    ``(seed, epoch, index)`` alone: not on the number of workers, on the order, or on what was read before. So an
    interrupted training that resumes sees exactly the images it would have seen.

    Args:
        samples: what to read.
        transform: RGB image and random generator to (3, H, W) tensor.
        seed: of the augmentation.
        target: what the network learns of a sample: :func:`class_index` or :class:`ClassIndicators`.

    Raises:
        BadImage: on access, where the file cannot be read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Callable[[Image.Image, random.Random], Tensor],
        seed: int = 0,
        target: Callable[[Sample], int | Tensor] = class_index,
    ) -> None:
        self.samples = tuple(samples)
        self.transform = transform
        self.seed = seed
        self.target = target

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Tensor, int | Tensor]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = self.samples[index]
        # A text seed is hashed, so neighbouring items get unrelated streams.
        rng = random.Random(f"{self.seed} {epoch} {index}")
        return self.transform(read_image(sample.path), rng), self.target(sample)


@dataclass(frozen=True)
class EvaluationItem:
    """One sample in the network's input coordinates; ``image`` is None and ``reason`` set when it was skipped.

    ``file`` is the fingerprint of what was read, see :func:`relsplit.bench.data.image_reading.read_file`.
    """

    index: int
    label: int
    image: Tensor | None
    box: Tensor | None
    segmentation: Tensor | None
    reason: str
    file: dict[str, Any]


@checked_options
class EvaluationDataset(Dataset[EvaluationItem]):
    """Samples with their object regions in input coordinates.

    Args:
        samples: what to read; an item's ``index`` counts into it.
        transform: the geometry that images and regions share.
        on_bad_image: "error" raises :class:`BadImage` on access; "skip" gives an item without an image.
    """

    def __init__(
        self, samples: Sequence[Sample], transform: EvaluationTransform, on_bad_image: OnBadImage = "error"
    ) -> None:
        self.samples = tuple(samples)
        self.transform = transform
        self.on_bad_image = on_bad_image

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> EvaluationItem:
        sample = self.samples[index]
        try:
            content, file = read_file(sample.path)
            image = read_image(sample.path, content)
            box = None
            if sample.box is not None:
                mask = box_mask(sample.box, *image.size)
                for other in sample.other_boxes:
                    mask |= box_mask(other, *image.size)
                if not mask.any():
                    raise BadImage(
                        sample.path, f"its bounding box {sample.box} lies outside of its {image.size} pixels"
                    )
                box = self.transform.region(mask)
            segmentation = None
            if sample.segmentation is not None:
                mask = read_mask(sample.segmentation, sample.segmentation_value)
                if mask.shape != image.size[::-1]:
                    raise BadImage(
                        sample.segmentation, f"a mask of {mask.shape[::-1]} pixels for an image of {image.size}"
                    )
                segmentation = self.transform.region(mask)
        except BadImage as error:
            if self.on_bad_image == "error":
                raise
            return EvaluationItem(index, sample.label, None, None, None, str(error.reason), {})
        return EvaluationItem(index, sample.label, self.transform(image), box, segmentation, "", file)


@dataclass  # not frozen: Lightning moves a batch to the device by setting its fields
class EvaluationBatch:
    """Readable samples of a batch, N of them (N may be 0), and those that were skipped.

    Attributes:
        images: (N, 3, H, W) float, normalised.
        labels: (N,) int64.
        indices: positions in the dataset's samples, by row.
        boxes: (N, H, W) bool; all False where the sample has none.
        segmentations: see ``boxes``.
        skipped: (position in the dataset's samples, reason) of every unreadable sample.
        files: fingerprints of the image files, by row.
    """

    images: Tensor
    labels: Tensor
    indices: tuple[int, ...]
    boxes: Tensor
    segmentations: Tensor
    skipped: tuple[tuple[int, str], ...]
    files: tuple[dict[str, Any], ...]

    def __getstate__(self) -> dict[str, Any]:
        return as_arrays(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(as_tensors(state))


def collate_evaluation(items: Sequence[EvaluationItem]) -> EvaluationBatch:
    """Joins items into a batch and sets the skipped ones aside (the ``collate_fn`` of a ``DataLoader``)."""
    read = [(item, item.image) for item in items if item.image is not None]
    images = torch.stack([image for _, image in read]) if read else torch.empty(0, 3, 0, 0)
    nowhere = torch.zeros(images.shape[-2:], dtype=torch.bool)

    def stacked(regions: list[Tensor | None]) -> Tensor:
        known = [nowhere if region is None else region for region in regions]
        return torch.stack(known) if known else nowhere[None][:0]

    return EvaluationBatch(
        images=images,
        labels=torch.tensor([item.label for item, _ in read], dtype=torch.int64),
        indices=tuple(item.index for item, _ in read),
        boxes=stacked([item.box for item, _ in read]),
        segmentations=stacked([item.segmentation for item, _ in read]),
        skipped=tuple((item.index, item.reason) for item in items if item.image is None),
        files=tuple(item.file for item, _ in read),
    )
