"""Parts of a weight (positive, negative, ...), computed anew in each call.

Nothing is kept between calls, so nothing can be stale: making the positive part of every weight costs as much as any
look at all of its entries that could tell whether it changed (docs/design.md has the measurement).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightPart:
    """A named elementwise function of a weight."""

    name: str
    of: Callable[[Tensor], Tensor]


FULL = WeightPart("full", lambda weight: weight)
POSITIVE = WeightPart("positive", lambda weight: weight.clamp(min=0))
NEGATIVE = WeightPart("negative", lambda weight: weight.clamp(max=0))
ABSOLUTE = WeightPart("absolute", lambda weight: weight.abs())
HALF_ABSOLUTE = WeightPart("half of the absolute", lambda weight: weight.abs().mul_(0.5))


class WeightParts:
    """Parts of one layer's weight while a rule passes it, each computed once.

    Args:
        weight: as the network used it in this call.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._parts: dict[WeightPart, Tensor] = {}

    def get(self, part: WeightPart, like: Tensor) -> Tensor:
        """Return ``part`` of the weight in the dtype and, for a feature map, the memory format of ``like``."""
        found = self._parts.get(part)
        if found is None or found.dtype != like.dtype:
            found = self._parts[part] = in_format(part.of(self._weight.to(like.dtype)), memory_format(like))
        return found


def memory_format(feature_map: Tensor) -> torch.memory_format:
    """Return whether a feature map (N, C, H, W) has its channels last in memory; others count as contiguous."""
    last = feature_map.dim() == 4 and feature_map.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not feature_map.is_contiguous() else torch.contiguous_format


def in_format(weight: Tensor, layout: torch.memory_format) -> Tensor:
    """Return a weight as it lies in memory so that a layer with inputs of this format need not copy it."""
    fits = weight.dim() != 4 or weight.is_contiguous(memory_format=layout)
    return weight if fits else weight.contiguous(memory_format=layout)
