"""What a protocol of the insertion and deletion metric is."""

import typing
from typing import NamedTuple

from torch import Tensor

from relsplit.checks import one_of, whole_number
from relsplit.metrics.insertion_deletion.replacement import BASELINES

TIES = ("together", "index")


class CurvePoints(NamedTuple):
    """The points of one sample's curves.

    Attributes:
        lengths: (P,) int64, how many units of the ranking are inserted (deleted) at each point.
        fraction: (P,) float64 in [0, 1], where the point lies on the x axis.
    """

    lengths: Tensor
    fraction: Tensor


class Protocol(typing.Protocol):
    """Turns a ranking of pixels into curve points; the score is the trapezoid area over ``fraction``."""

    @property
    def baseline(self) -> str:
        """What pixels are replaced with, see :func:`relsplit.metrics.insertion_deletion.replacement.baseline_image`."""

    @property
    def patch(self) -> int:
        """Side of the square blocks that are ranked and moved as one unit; 1 is single pixels."""

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending, on the CPU."""


def check_options(*, step: int | None, baseline: str, patch: int, ties: str = "index") -> None:
    """Check the options that protocols share.

    Raises:
        InputError: a value that no protocol can use.
    """
    if step is not None:
        whole_number("step (pixels, or null for 500 pixels of a 224x224 image)", step, 1)
    one_of("ties", ties, TIES)
    one_of("baseline", baseline, BASELINES)
    whole_number("patch", patch, 1)
