"""The released code's protocol, for comparison with the paper."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.nominal_points import nominal_counts, nominal_fraction
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints, Ties
from relsplit.metrics.insertion_deletion.ranking import end_of_level
from relsplit.metrics.insertion_deletion.replacement import Baseline
from relsplit.options import Count, checked_options


@PROTOCOLS.register("published")
@checked_options
@dataclass(frozen=True)
class Published:
    """At nominal count n, every pixel whose attribution reaches the one of (0-based) rank n; nominal x axis.

    Args:
        step: pixels (blocks) per point; None: 500 at 224x224, the same share elsewhere.
        ties: "together", as in the released code: all pixels tied with rank n are in the mask, so a map of few levels
            shows far more than n pixels, and a map that is 1 at one pixel and 0 elsewhere has the best score there is;
            "index" takes exactly the n + 1 first pixels of the ranking instead.
        baseline: what pixels are replaced with.
        patch: side of the blocks that move as one.

    Raises:
        InputError: an option that cannot be used.
    """

    always_whole: ClassVar[bool] = True

    step: Count | None = None
    ties: Ties = "together"
    baseline: Baseline = "black"
    patch: Count = 1

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending."""
        counts = nominal_counts(values.numel(), self.step)
        lengths = end_of_level(values, counts) if self.ties == "together" else counts + 1
        return CurvePoints(lengths, nominal_fraction(counts.numel()))
