"""The protocol that the paper's equations describe: exactly n pixels at point n."""

from dataclasses import dataclass

from torch import Tensor

from reslrp.metrics.protocols.grid import nominal_counts, nominal_fraction
from reslrp.metrics.protocols.protocol import CurvePoints, check_options
from reslrp.metrics.ranking import end_of_level


@dataclass(frozen=True)
class Strict:
    """At nominal count n, the first n pixels of the ranking (paper Eq. 9-10), at the published protocol's points.

    Ties are broken by pixel index (ties="index"), so quantising a map gains nothing. ties="together" adds every
    pixel that ties with the n-th.
    """

    step: int | None = None
    ties: str = "index"
    baseline: str = "black"
    patch: int = 1

    def __post_init__(self) -> None:
        check_options(step=self.step, ties=self.ties, baseline=self.baseline, patch=self.patch)

    def points(self, values: Tensor) -> CurvePoints:
        counts = nominal_counts(values.numel(), self.step)
        lengths = end_of_level(values, counts - 1) if self.ties == "together" else counts
        return CurvePoints(lengths, nominal_fraction(counts.numel()))
