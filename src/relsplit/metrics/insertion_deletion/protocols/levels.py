"""One curve point per distinct attribution level, placed at the share of pixels that is really masked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from relsplit.baseline import Baseline
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.nominal import nominal_counts
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints
from relsplit.metrics.insertion_deletion.ranking import end_of_level, level_ends
from relsplit.options import Count, checked_options


@PROTOCOLS.register("levels")
@checked_options
@dataclass(frozen=True)
class Levels:
    """Tied pixels move together, as in the published protocol, but the x axis is the true masked fraction.

    The points are both ends and the end of every level, so the curve depends on the order of the map alone and needs
    no choice among tied pixels.

    Args:
        step: spacing of the level ends that a map with more than ``max_levels`` levels keeps; None: as published.
        max_levels: a map with more distinct values (a continuous one) keeps, of its level ends, those at the published
            protocol's counts (``step`` apart), still at their true fraction; None: every level is a point.
        baseline: what pixels are replaced with.
        patch: side of the blocks that move as one.

    Raises:
        InputError: an option that cannot be used.
    """

    step: Count | None = None
    max_levels: Count | None = None
    baseline: Baseline = "black"
    patch: Count = 1

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending."""
        ends = level_ends(values)
        if self.max_levels is not None and ends.numel() > self.max_levels:
            counts = nominal_counts(values.numel(), self.step)
            ends = torch.cat([end_of_level(values, counts - 1), ends[-1:]]).unique()
        lengths = torch.cat([ends.new_zeros(1), ends])
        return CurvePoints(lengths, lengths.double() / values.numel())
