"""From an RGB image to the network's input: the evaluation geometry and the training augmentation."""

import math
import random
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from relsplit.bench.data.catalogue import Box
from relsplit.errors import InputError
from relsplit.options import Length, Limits, Positive, Share, checked_options

Pixels = Annotated[int, Limits(minimum=1, maximum=16_384)]
"""A side of an image."""
Mean = Annotated[Sequence[float], Length(3)]
"""Of pixel values in [0, 1], per channel."""
Std = Annotated[Sequence[Positive], Length(3)]
"""Of pixel values in [0, 1], per channel."""
Area = Annotated[float, Limits(above=0, maximum=1)]
"""A share of an image's area."""


@checked_options
class EvaluationTransform:
    """Resize of the short side, centre crop, normalisation (released code, ``create_dataset``).

    Args:
        resize: length of the short side after resizing, in pixels.
        image_size: side of the square that is cut from the centre, in pixels.
        mean: per-channel statistics of pixel values in [0, 1].
        std: see ``mean``.
        interpolation: of the resizing.
    """

    def __init__(
        self,
        resize: Pixels,
        image_size: Pixels,
        mean: Mean,
        std: Std,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        self.resize = resize
        self.image_size = image_size
        self.normalization = Normalization(mean, std)
        self.interpolation = F.InterpolationMode(interpolation)

    def __call__(self, image: Image.Image, rng: random.Random | None = None) -> Tensor:
        """RGB image to a normalised (3, image_size, image_size) float tensor; nothing is drawn from ``rng``."""
        return self.normalization(self._cut(image))

    def region(self, mask: NDArray[np.bool_]) -> Tensor:
        """A mask (H, W) in stored-image pixels to (image_size, image_size) bool in input pixels.

        The mask takes the image's own path; an input pixel belongs to the region when at least half of it does.
        """
        cut = self._cut(Image.fromarray(mask.astype(np.uint8) * 255))
        return torch.from_numpy(np.asarray(cut) >= 128)

    def _cut(self, image: Image.Image) -> Image.Image:
        resized = F.resize(image, [self.resize], interpolation=self.interpolation)
        cut: Image.Image = F.center_crop(resized, [self.image_size, self.image_size])
        return cut


@checked_options
class TrainingTransform:
    """Resize, random resized crop, random horizontal flip, normalisation (released code: scale 0.08 to 1, flip 1/2).

    The crops are distributed like those of torchvision's ``RandomResizedCrop``, but drawn from a generator that is
    handed in, so that an item's augmentation can be made to depend on nothing but the item.

    Args:
        resize: as for :class:`EvaluationTransform`.
        image_size: see ``resize``.
        mean: see ``resize``.
        std: see ``resize``.
        crop_scale: smallest and largest share of the area that a crop may have.
        crop_ratio: smallest and largest aspect ratio (width / height) of a crop.
        flip: probability of a horizontal flip.
    """

    def __init__(
        self,
        resize: Pixels,
        image_size: Pixels,
        mean: Mean,
        std: Std,
        crop_scale: tuple[Area, Area] = (0.08, 1.0),
        crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3),
        flip: Share = 0.5,
    ) -> None:
        for name, (low, high) in {"crop_scale": crop_scale, "crop_ratio": crop_ratio}.items():
            if low > high:
                raise InputError(f"augmentation.{name} is [{low}, {high}]: give two numbers in rising order")
        self.resize = resize
        self.image_size = image_size
        self.normalization = Normalization(mean, std)
        self.crop_scale = crop_scale[0], crop_scale[1]
        self.crop_ratio = crop_ratio[0], crop_ratio[1]
        self.flip = flip

    def __call__(self, image: Image.Image, rng: random.Random) -> Tensor:
        """RGB image to a normalised (3, image_size, image_size) float tensor, augmented by draws from ``rng``."""
        short = min(image.size)
        resized = int(self.resize * image.width / short), int(self.resize * image.height / short)
        left, top, width, height = self._random_crop(*resized, rng)
        crop = _resized_then_cropped(image, resized, (left, top, left + width, top + height))
        crop = crop.resize((self.image_size, self.image_size), Image.Resampling.BILINEAR)
        if rng.random() < self.flip:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self.normalization(crop)

    def _random_crop(self, width: int, height: int, rng: random.Random) -> tuple[int, int, int, int]:
        """(left, top, width, height) of a crop: uniform in area and in the logarithm of the aspect ratio."""
        low, high = self.crop_ratio
        for _ in range(10):
            area = width * height * rng.uniform(*self.crop_scale)
            ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return rng.randint(0, width - w), rng.randint(0, height - h), w, h
        # No crop fits: the largest centred one whose aspect ratio is allowed.
        ratio = min(max(width / height, low), high)
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (width - w) // 2, (height - h) // 2, w, h


def _resized_then_cropped(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """``image.resize(size).crop(box)``, computing only the pixels of the box, whose filters still see around it."""
    if size == image.size:
        return image.crop(box)
    left, top, right, bottom = box
    x, y = image.width / size[0], image.height / size[1]
    source = left * x, top * y, min(right * x, image.width), min(bottom * y, image.height)
    return image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)


class Normalization:
    """RGB image to (3, H, W) float: pixel values scaled to [0, 1], then ``(value - mean) / std`` per channel.

    Bit for bit torchvision's ``to_tensor`` and ``normalize``, without the cost of their checks.
    """

    def __init__(self, mean: Mean, std: Std) -> None:
        self.mean = torch.tensor(list(mean)).view(3, 1, 1)
        self.std = torch.tensor(list(std)).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return (3, H, W)."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.float().div_(255).sub_(self.mean).div_(self.std)


def box_mask(box: Box, width: int, height: int) -> NDArray[np.bool_]:
    """The box (x, y, w, h) as an (height, width) mask: True where the pixel's centre lies inside."""
    x, y, w, h = box
    columns = np.arange(width) + 0.5
    rows = np.arange(height) + 0.5
    inside_x = (columns >= x) & (columns < x + w)
    inside_y = (rows >= y) & (rows < y + h)
    return inside_y[:, None] & inside_x[None, :]
