"""One curve point per distinct attribution level, placed at the share of pixels that is really masked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from relsplit.checks import whole_number
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.nominal_points import nominal_counts
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints, check_options
from relsplit.metrics.insertion_deletion.ranking import end_of_level, level_ends


@PROTOCOLS.register("levels")
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

    step: int | None = None
    max_levels: int | None = None
    baseline: str = "black"
    patch: int = 1

    def __post_init__(self) -> None:
        check_options(step=self.step, baseline=self.baseline, patch=self.patch)
        if self.max_levels is not None:
            whole_number("max_levels", self.max_levels, 1)

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending."""
        ends = level_ends(values)
        if self.max_levels is not None and ends.numel() > self.max_levels:
            counts = nominal_counts(values.numel(), self.step)
            ends = torch.cat([end_of_level(values, counts - 1), ends[-1:]]).unique()
        lengths = torch.cat([ends.new_zeros(1), ends])
        return CurvePoints(lengths, lengths.double() / values.numel())
