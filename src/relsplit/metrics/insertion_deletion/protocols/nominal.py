"""Protocols with evenly spaced points: the released code's, and the one that the paper's equations describe."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from relsplit.baseline import Baseline
from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints, Ties
from relsplit.metrics.insertion_deletion.ranking import end_of_level
from relsplit.options import Count, checked_options

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


@dataclass(frozen=True)
class _Nominal:
    """At nominal count n, n pixels or a few more; nominal x axis.

    Args:
        step: pixels (blocks) per point; None: 500 at 224x224, the same share elsewhere.
        ties: "together" adds every pixel that ties with the last one, so that a map of few levels shows far more than n
            pixels, and a map that is 1 at one pixel and 0 elsewhere has the best score there is; "index" breaks ties by
            pixel index, so that quantising a map gains nothing.
        baseline: what pixels are replaced with.
        patch: side of the blocks that move as one.

    Raises:
        InputError: an option that cannot be used.
    """

    more: ClassVar[int]
    """How many pixels are shown beyond the nominal count."""

    step: Count | None = None
    ties: Ties = "index"
    baseline: Baseline = "black"
    patch: Count = 1

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending."""
        counts = nominal_counts(values.numel(), self.step)
        shown = counts + self.more
        lengths = end_of_level(values, shown - 1) if self.ties == "together" else shown
        # Evenly spaced: the trapezoid area is then the released code's sum / (points - 1).
        return CurvePoints(lengths, torch.linspace(0, 1, counts.numel(), dtype=torch.float64))


@PROTOCOLS.register("strict")
@checked_options
@dataclass(frozen=True)
class Strict(_Nominal):
    """Exactly the first n pixels of the ranking (paper Eq. 9-10), at the published protocol's points."""

    more = 0


@PROTOCOLS.register("published")
@checked_options
@dataclass(frozen=True)
class Published(_Nominal):
    """The released code: every pixel whose attribution reaches the one of 0-based rank n, so n + 1 and what ties."""

    more = 1
    always_whole: ClassVar[bool] = True

    ties: Ties = "together"
