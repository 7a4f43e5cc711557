"""Values of a network that lie on a grid over the image: feature maps and the tokens of patches."""

import math

import torch
from torch import Tensor

MOST_OTHERS = 8
"""Tokens before those of the patches: the class's, a distilled one, registers."""


def on_grid(value: Tensor, size: torch.Size) -> Tensor | None:
    """Return a value as a feature map, a view of it, if it lies on a grid of more than one cell over the image.

    Args:
        value: (N, C, h, w), (N, h, w, C), or the tokens (N, T, D) of patches, which may follow a few others.
        size: (H, W) of the images.

    Returns:
        (N, channels, h, w), without what belongs to no position; None for anything else.
    """
    if value.dim() == 4:
        for feature_map in (value, value.movedim(3, 1)):
            if feature_map.shape[2:].numel() > 1 and is_alike(feature_map.shape[2:], size):
                return feature_map
    if value.dim() == 3:
        for others in range(MOST_OTHERS + 1):
            height, width = _sides(value.shape[1] - others, size)
            if height * width == value.shape[1] - others > 1:
                patches: Tensor = value[:, others:].unflatten(1, (height, width))
                return patches.movedim(3, 1)
    return None


def is_alike(resolution: torch.Size, size: torch.Size) -> bool:
    """Say whether a feature map has the proportions of the images, up to rounding of its sides."""
    (height, width), (full_height, full_width) = resolution, size
    return abs(height * full_width - width * full_height) < max(size) and height <= full_height


def _sides(count: int, size: torch.Size) -> tuple[int, int]:
    """Height and width of a grid of about ``count`` square cells over images of (H, W)."""
    height = round(math.sqrt(max(count, 0) * size[0] / size[1]))
    return height, count // height if height else 0
