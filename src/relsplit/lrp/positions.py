"""Values of a network that lie on a grid over the image: feature maps and the tokens of patches."""

import torch
from torch import Tensor

from relsplit.networks.feature_maps import layout


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
