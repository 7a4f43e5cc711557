"""The released code's protocol, for comparison with the paper."""

from dataclasses import dataclass

from torch import Tensor

from reslrp.metrics.protocols.grid import nominal_counts, nominal_fraction
from reslrp.metrics.protocols.protocol import CurvePoints, check_options
from reslrp.metrics.ranking import end_of_level


@dataclass(frozen=True)
class Published:
    """At nominal count n, every pixel whose attribution reaches the one of (0-based) rank n; nominal x axis.

    With ties="together", as in the released code, all pixels tied with rank n are in the mask, so a map of few
    levels shows far more than n pixels: a map that is 1 at one pixel and 0 elsewhere has the best score there is.
    ties="index" takes exactly the n + 1 first pixels of the ranking instead.
    """

    step: int | None = None
    ties: str = "together"
    baseline: str = "black"
    patch: int = 1

    def __post_init__(self) -> None:
        check_options(step=self.step, ties=self.ties, baseline=self.baseline, patch=self.patch)

    def points(self, values: Tensor) -> CurvePoints:
        counts = nominal_counts(values.numel(), self.step)
        lengths = end_of_level(values, counts) if self.ties == "together" else counts + 1
        return CurvePoints(lengths, nominal_fraction(counts.numel()))
