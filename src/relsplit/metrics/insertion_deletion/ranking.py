"""One ranking of the pixels per map, from which every mask of every protocol is a prefix."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Ranking(NamedTuple):
    """Pixels (or blocks of pixels) of N maps in descending order of attribution, ties in order of pixel index.

    Attributes:
        values: (N, U) attribution of the U units, descending.
        rank: (N, H, W) int32, the position of each pixel's unit in that order, so that ``rank < k`` is the mask of the
            first k units.
    """

    values: Tensor
    rank: Tensor


def rank_pixels(maps: Tensor, patch: int = 1) -> Ranking:
    """Rank the pixels of maps (N, H, W); with patch > 1 the blocks of patch x patch pixels.

    A block has the largest attribution among its pixels, as in the Patch Insertion-Deletion score of the released
    code; blocks that the image cuts off at the right and the lower edge are ranked as they are.
    """
    height, width = maps.shape[1:]
    blocks = maps if patch == 1 else F.max_pool2d(maps.unsqueeze(1), patch, ceil_mode=True).squeeze(1)
    flat = blocks.flatten(1) + 0.0  # -0.0 becomes 0.0: both must tie on every device
    values, order = flat.sort(dim=1, descending=True, stable=True)
    positions = torch.arange(flat.shape[1], dtype=torch.int32, device=maps.device).expand_as(order)
    rank = torch.empty_like(positions, memory_format=torch.contiguous_format).scatter_(1, order, positions)
    rank = rank.view(blocks.shape)
    if patch > 1:
        rank = rank.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, :height, :width].contiguous()
    return Ranking(values, rank)


def level_ends(values: Tensor) -> Tensor:
    """Return, for descending values (U,), the number of units at or above each distinct value, highest first."""
    counts: Tensor = torch.unique_consecutive(values, return_counts=True)[1]
    return counts.cumsum(0)


def end_of_level(values: Tensor, ranks: Tensor) -> Tensor:
    """Return how many of the descending values (U,) are at or above the value at each of the 0-based ranks (P,)."""
    ends = level_ends(values)
    level = torch.searchsorted(ends, ranks, right=True)
    return ends[level]
