"""Values of a network that lie on a grid over the image: feature maps and the tokens of patches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.networks.feature_maps import Shape, layout

_ROUNDING = 1e-4
"""By which the cosine of equal contributions may differ from 1."""


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
        tokens = layout(value, len(value), (size[0], size[1]))
        return None if tokens is None else tokens.grid(value)
    return None


def is_alike(resolution: torch.Size, size: torch.Size) -> bool:
    """Say whether a feature map has the proportions of the images, up to rounding of its sides."""
    (height, width), (full_height, full_width) = resolution, size
    return abs(height * full_width - width * full_height) < max(size) and height <= full_height


def shape_of_map(shape: Shape, size: torch.Size) -> Shape | None:
    """Return the shape (N, C, h, w) of a feature map that a value of ``shape`` holds; None if it holds none.

    Args:
        shape: of any value; tokens are no feature map.
        size: (H, W) of the images.
    """
    found = on_grid(torch.empty(shape, device="meta"), size) if len(shape) == 4 else None
    return None if found is None else tuple(found.shape)


def same_as_channels(rows: Tensor, below: Tensor) -> bool:
    """Say whether contributions (N, T, D) are, row by row, those of the T channels of a map (N, T, h, w) below them.

    Up to a factor: an operation on every entry of its own may scale its contribution.
    """
    row, channel = rows.sum(2), below.sum((2, 3))
    return bool(F.cosine_similarity(row, channel).abs().min() > 1 - _ROUNDING)
