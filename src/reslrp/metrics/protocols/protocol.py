"""What a protocol of the insertion and deletion metric is."""

import typing
from typing import NamedTuple

from torch import Tensor

from reslrp.errors import InputError
from reslrp.metrics.baselines import BASELINES

TIES = ("together", "index")


class CurvePoints(NamedTuple):
    """The points of one sample's curves.

    lengths: (P,) int64, how many units of the ranking are inserted (deleted) at each point.
    fraction: (P,) float64 in [0, 1], where the point lies on the x axis.
    """

    lengths: Tensor
    fraction: Tensor


class Protocol(typing.Protocol):
    """A rule that turns a ranking of pixels into curve points; the score is the trapezoid area over `fraction`.

    baseline: what pixels are replaced with, see `reslrp.metrics.baselines`.
    patch: side of the square blocks that are ranked and moved as one unit; 1 is single pixels.
    """

    @property
    def baseline(self) -> str: ...

    @property
    def patch(self) -> int: ...

    def points(self, values: Tensor) -> CurvePoints:
        """Curve points of one sample from its attribution values (U,), sorted descending, on the CPU."""
        ...


def check_options(*, step: int | None, baseline: str, patch: int, ties: str = "index") -> None:
    """Raise InputError for an option no protocol can use."""
    if step is not None and (not isinstance(step, int) or step < 1):
        raise InputError(
            f"step={step} must be a whole number of at least 1 pixel, or null for 500 pixels of a 224x224 image"
        )
    if ties not in TIES:
        raise InputError(f"ties={ties} is unknown: choose one of {', '.join(TIES)}")
    if baseline not in BASELINES:
        raise InputError(f"baseline={baseline} is unknown: choose one of {', '.join(BASELINES)}")
    if not isinstance(patch, int) or patch < 1:
        raise InputError(f"patch={patch} must be a whole number of at least 1 pixel")
