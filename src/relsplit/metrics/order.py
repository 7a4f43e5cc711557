"""Maps of which only the order matters, in numbers that keep it."""

import torch
from torch import Tensor

from relsplit.checks import real_maps

EXACT = 2**53
"""Whole numbers up to here are float64 numbers."""


def ordered(maps: Tensor) -> Tensor:
    """Return maps whose values have the same order and the same ties, also as float64.

    Args:
        maps: (N, H, W), of any type; whole numbers beyond 2^53, which float64 would tie, become their positions in the
            order.

    Raises:
        InputError: no tensor, or complex numbers, which have no order.
    """
    maps = real_maps(maps)
    if maps.is_floating_point() or maps.dtype == torch.bool or not maps.numel():
        return maps
    if int(maps.min()) >= -EXACT and int(maps.max()) <= EXACT:
        return maps
    positions: Tensor = torch.unique(maps, return_inverse=True)[1]
    return positions
