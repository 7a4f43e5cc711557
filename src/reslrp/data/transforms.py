"""From an RGB image to the network's input: the evaluation geometry and the training augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F
from torchvision.transforms import v2

from reslrp.data.catalogue import Box


class EvaluationTransform:
    """Resize of the short side, centre crop, normalisation (released code, ``create_dataset``).

    Args:
        resize: length of the short side after resizing, in pixels.
        image_size: side of the square that is cut from the centre, in pixels.
        mean, std: per-channel statistics of pixel values in [0, 1].
    """

    def __init__(self, resize: int, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.resize = resize
        self.image_size = image_size
        self.mean = list(mean)
        self.std = list(std)

    def __call__(self, image: Image.Image) -> Tensor:
        """RGB image to a normalised (3, image_size, image_size) float tensor."""
        return normalized(self._cut(image), self.mean, self.std)

    def region(self, mask: NDArray[np.bool_]) -> Tensor:
        """A mask (H, W) in stored-image pixels to (image_size, image_size) bool in input pixels.

        The mask takes the image's own path; an input pixel belongs to the region when at least half of it does.
        """
        cut = self._cut(Image.fromarray(mask.astype(np.uint8) * 255))
        return torch.from_numpy(np.array(cut) >= 128)

    def _cut(self, image: Image.Image) -> Image.Image:
        resized = F.resize(image, [self.resize], interpolation=F.InterpolationMode.BILINEAR)
        cut: Image.Image = F.center_crop(resized, [self.image_size, self.image_size])
        return cut


class TrainingTransform:
    """Resize, random resized crop, horizontal flip, normalisation (released code: scale 0.08 to 1, flip 1/2).

    All randomness comes from torch's default CPU generator, which the dataset seeds for every item.

    Args:
        resize, image_size, mean, std: as for :class:`EvaluationTransform`.
        crop_scale: smallest and largest share of the area that a crop may have.
        crop_ratio: smallest and largest aspect ratio of a crop.
        flip: probability of a horizontal flip.
    """

    def __init__(
        self,
        resize: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        crop_scale: tuple[float, float] = (0.08, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        self.mean = list(mean)
        self.std = list(std)
        self.augment = v2.Compose(
            [
                v2.Resize(resize),
                v2.RandomResizedCrop(image_size, scale=tuple(crop_scale), ratio=tuple(crop_ratio)),
                v2.RandomHorizontalFlip(flip),
            ]
        )

    def __call__(self, image: Image.Image) -> Tensor:
        """RGB image to a normalised (3, image_size, image_size) float tensor."""
        return normalized(self.augment(image), self.mean, self.std)


def normalized(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """RGB image to (3, H, W) float: pixel values scaled to [0, 1], then ``(value - mean) / std`` per channel."""
    pixels: Tensor = F.normalize(F.to_tensor(image), list(mean), list(std), inplace=True)
    return pixels


def box_mask(box: Box, width: int, height: int) -> NDArray[np.bool_]:
    """The box (x, y, w, h) as an (height, width) mask: True where the pixel's centre lies inside."""
    x, y, w, h = box
    columns = np.arange(width) + 0.5
    rows = np.arange(height) + 0.5
    inside_x = (columns >= x) & (columns < x + w)
    inside_y = (rows >= y) & (rows < y + h)
    return inside_y[:, None] & inside_x[None, :]
