"""Columns ``energy_in_box``, ``energy_in_mask`` and ``pointing_game``: does the attribution lie on the object?"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from reslrp.errors import InputError
from reslrp.metrics.localisation import energy_inside, pointing_game
from reslrp.metrics.per_sample.explained_batch import ExplainedBatch


class Localisation:
    """Share of the positive attribution in the bounding box and in the segmentation, and whether the maximum hits.

    The pointing game is played on the segmentation, or on the box where a sample has no segmentation. NaN where a
    sample has no such region.

    Args:
        tolerance: pixels by which the maximum may miss (see :func:`reslrp.metrics.localisation.pointing_game`).

    Raises:
        InputError: a negative tolerance.
    """

    def __init__(self, tolerance: int = 0) -> None:
        if tolerance < 0:
            raise InputError(f"tolerance={tolerance} must be at least 0 pixels")
        self.tolerance = tolerance

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        has_mask = batch.segmentations.flatten(1).any(1)
        aims = torch.where(has_mask[:, None, None], batch.segmentations, batch.boxes)
        return {
            "energy_in_box": _where_known(energy_inside, batch.maps, batch.boxes),
            "energy_in_mask": _where_known(energy_inside, batch.maps, batch.segmentations),
            "pointing_game": _where_known(lambda m, r: pointing_game(m, r, self.tolerance), batch.maps, aims),
        }


def _where_known(metric: Callable[[Tensor, Tensor], Tensor], maps: Tensor, regions: Tensor) -> Tensor:
    known = regions.flatten(1).any(1)
    values = torch.full((len(maps),), math.nan, dtype=torch.float64, device=maps.device)
    if known.any():
        values[known] = metric(maps[known], regions[known])
    return values
