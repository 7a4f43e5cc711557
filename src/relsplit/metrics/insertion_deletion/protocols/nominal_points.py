"""The evenly spaced points that the published and the strict protocol share."""

import torch
from torch import Tensor

from relsplit.errors import InputError

_PUBLISHED_STEP = 500
_PUBLISHED_PIXELS = 224 * 224


def nominal_counts(units: int, step: int | None) -> Tensor:
    """Return the counts step, 2 step, ... of the released code, ceil(units / step) of them, capped at units - 1.

    Args:
        units: pixels or blocks that are ranked.
        step: None is 500 units of 224x224 and the same share, rounded up, at any other size: about 101 points.

    Raises:
        InputError: fewer than two points.
    """
    spacing = -(-units * _PUBLISHED_STEP // _PUBLISHED_PIXELS) if step is None else step
    points = -(-units // spacing)
    if points < 2:
        raise InputError(f"step={spacing} leaves a single point of {units} pixels or patches: use a smaller step")
    return (torch.arange(1, points + 1) * spacing).clamp(max=units - 1)


def nominal_fraction(points: int) -> Tensor:
    """Return evenly spaced positions from 0 to 1: the trapezoid area is then the released code's sum / (points - 1)."""
    return torch.linspace(0, 1, points, dtype=torch.float64)
