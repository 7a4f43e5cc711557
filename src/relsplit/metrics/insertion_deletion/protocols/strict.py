"""The protocol that the paper's equations describe: exactly n pixels at point n."""

from dataclasses import dataclass

from torch import Tensor

from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.nominal_points import nominal_counts, nominal_fraction
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints, Ties
from relsplit.metrics.insertion_deletion.ranking import end_of_level
from relsplit.metrics.insertion_deletion.replacement import Baseline
from relsplit.options import Count, checked_options


@PROTOCOLS.register("strict")
@checked_options
@dataclass(frozen=True)
class Strict:
    """At nominal count n, the first n pixels of the ranking (paper Eq. 9-10), at the published protocol's points.

    Args:
        step: pixels (blocks) per point; None: 500 at 224x224, the same share elsewhere.
        ties: "index" breaks ties by pixel index, so quantising a map gains nothing; "together" adds every pixel that
            ties with the n-th.
        baseline: what pixels are replaced with.
        patch: side of the blocks that move as one.

    Raises:
        InputError: an option that cannot be used.
    """

    step: Count | None = None
    ties: Ties = "index"
    baseline: Baseline = "black"
    patch: Count = 1

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending."""
        counts = nominal_counts(values.numel(), self.step)
        lengths = end_of_level(values, counts - 1) if self.ties == "together" else counts
        return CurvePoints(lengths, nominal_fraction(counts.numel()))
