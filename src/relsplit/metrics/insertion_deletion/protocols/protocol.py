"""What a protocol of the insertion and deletion metric is."""

import typing
from typing import Literal, NamedTuple

from torch import Tensor

from relsplit.baseline import Baseline

Ties = Literal["together", "index"]
"""What becomes of pixels of equal attribution: they move together, or in the order of their index."""


class CurvePoints(NamedTuple):
    """The points of one sample's curves.

    Attributes:
        lengths: (P,) int64, how many units of the ranking are inserted (deleted) at each point.
        fraction: (P,) float64 in [0, 1], where the point lies on the x axis.
    """

    lengths: Tensor
    fraction: Tensor


class Protocol(typing.Protocol):
    """Turns a ranking of pixels into curve points; the score is the trapezoid area over ``fraction``.

    A protocol whose numbers stand beside published ones says ``always_whole = True``: all of its points are evaluated,
    whatever tolerance the curves have otherwise.
    """

    @property
    def baseline(self) -> Baseline:
        """What pixels are replaced with, see :data:`relsplit.baseline.Baseline`."""

    @property
    def patch(self) -> int:
        """Side of the square blocks that are ranked and moved as one unit; 1 is single pixels."""

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending, on the CPU."""


def is_always_whole(protocol: Protocol) -> bool:
    """Say whether every point of the protocol's curves is to be evaluated, whatever their tolerance."""
    return bool(getattr(protocol, "always_whole", False))
