"""Maps of which only the order matters, in numbers that keep it."""

import torch
from torch import Tensor

from relsplit.checks import as_tensor

EXACT = 2**53
"""Whole numbers up to here are float64 numbers."""


def ordered(maps: Tensor) -> Tensor:
    """Return maps whose values have the same order and the same ties, also as float64.

    Args:
        maps: (N, H, W), of any type; whole numbers beyond 2^53, which float64 would tie, become their positions in the
            order.
    """
    maps = as_tensor(maps)
    if not isinstance(maps, Tensor):
        return maps  # whoever takes maps says what is wrong with these
    if maps.is_floating_point() or maps.dtype == torch.bool or not maps.numel():
        return maps
    if int(maps.min()) >= -EXACT and int(maps.max()) <= EXACT:
        return maps
    positions: Tensor = torch.unique(maps, return_inverse=True)[1]
    return positions
