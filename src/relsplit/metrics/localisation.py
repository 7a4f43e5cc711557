"""Does the attribution lie on the object? Regions are boxes or segmentations, as masks."""

import math
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.checks import as_tensor, finite_maps
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import ExplainedBatch
from relsplit.options import Limits, checked_options

Tolerance = Annotated[int, Limits(minimum=0, maximum=10_000)]


def energy_inside(maps: Tensor, regions: Tensor) -> Tensor:
    """Return the share of the positive attribution that lies inside the region.

    Energy-based pointing game of Wang et al. 2020 (Score-CAM), Sec. 4.3. Negative attribution counts as none, because
    it speaks against the class.

    Examples:
        >>> import torch
        >>> from relsplit.metrics import energy_inside
        >>> box = torch.tensor([[[True, False], [False, False]]])
        >>> energy_inside(torch.ones(1, 2, 2), box).tolist()
        [0.25]

    Args:
        maps: (N, H, W); of signals (N, L), of volumes (N, D, H, W).
        regions: of the same shape, boolean, none of them empty.

    Returns:
        (N,) float64 in [0, 1]; 0 for a map without any positive attribution.

    Raises:
        InputError: shapes or types that do not fit, an empty region, a map that is not finite.
    """
    maps, regions = checked_regions(maps, regions)
    positive = maps.double().clamp(min=0)
    total = positive.flatten(1).sum(1)
    inside = (positive * regions).flatten(1).sum(1)
    return torch.where(total > 0, inside / total, torch.zeros_like(total))


@checked_options
def pointing_game(maps: Tensor, regions: Tensor, tolerance: Tolerance = 0) -> Tensor:
    """Return 1 where the maximum of a map hits its region, 0 where it misses.

    Where several pixels share the maximum, the share of them that hit, which is the chance of a hit if one of them is
    drawn: a constant map earns the region's area and no more.

    Examples:
        >>> import torch
        >>> from relsplit.metrics import pointing_game
        >>> box = torch.tensor([[[True, False], [False, False]]])
        >>> pointing_game(torch.tensor([[[9.0, 1.0], [2.0, 3.0]]]), box).tolist()
        [1.0]

    Args:
        maps: (N, H, W); of signals (N, L), of volumes (N, D, H, W).
        regions: of the same shape, boolean, none of them empty.
        tolerance: a maximum within so many pixels (Euclidean) of the region is a hit; Zhang et al. 2016 (Excitation
            Backprop), Sec. 4.1, allow 15.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        InputError: shapes or types that do not fit, an empty region, a map that is not finite, a negative tolerance.
    """
    maps, regions = checked_regions(maps, regions)
    if maps.ndim != 3 and tolerance:
        raise InputError(f"tolerance: a distance is of images, not of maps {tuple(maps.shape)}")
    hit = (_dilate(regions, tolerance) if tolerance else regions).flatten(1)
    values = maps.flatten(1)
    maxima = values == values.amax(1, keepdim=True)
    return (maxima & hit).sum(1).double() / maxima.sum(1)


@checked_options
class Localisation:
    """Columns ``energy_in_box``, ``energy_in_mask`` and ``pointing_game``.

    The share of the positive attribution in the bounding box and in the segmentation, and whether the maximum hits. The
    pointing game is played on the segmentation, or on the box where a sample has no segmentation. NaN where a sample
    has no such region.

    Args:
        tolerance: pixels by which the maximum may miss, see :func:`pointing_game`.

    Raises:
        InputError: a negative tolerance.
    """

    def __init__(self, tolerance: Tolerance = 0) -> None:
        self.tolerance = tolerance

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the three values of every sample."""
        has_mask = batch.segmentations.flatten(1).any(1)
        aims = torch.where(has_mask[:, None, None], batch.segmentations, batch.boxes)
        return {
            "energy_in_box": where_known(energy_inside, batch.maps, batch.boxes),
            "energy_in_mask": where_known(energy_inside, batch.maps, batch.segmentations),
            "pointing_game": where_known(lambda m, r: pointing_game(m, r, self.tolerance), batch.maps, aims),
        }


def where_known(metric: Callable[[Tensor, Tensor], Tensor], maps: Tensor, regions: Tensor) -> Tensor:
    """Return the metric (N,) of the samples that have a region; NaN for the others."""
    known = regions.flatten(1).any(1)
    values = torch.full((len(maps),), math.nan, dtype=torch.float64, device=maps.device)
    if known.any():
        values[known] = metric(maps[known], regions[known])
    return values


def checked_regions(maps: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``maps`` (N, ...), floating point, and boolean ``regions`` beside them, if the two fit together.

    Raises:
        InputError: they do not, a map is not finite, or a region is empty.
    """
    maps, regions = as_tensor(maps), as_tensor(regions)
    if maps.ndim < 2 or maps.shape != regions.shape:
        raise InputError(
            f"maps and regions must both be (N, H, W), not {tuple(maps.shape)} and {tuple(regions.shape)}: "
            "bring the region to the map's size first"
        )
    if regions.dtype != torch.bool:
        raise InputError(f"regions must be boolean, not {regions.dtype}")
    empty = ~regions.flatten(1).any(1)
    if empty.any():
        raise InputError(
            f"the region of sample {int(empty.int().argmax())} of the batch is empty: leave the sample out"
        )
    return finite_maps(maps), regions.to(maps.device)


def _dilate(regions: Tensor, radius: int) -> Tensor:
    """Every pixel within radius pixels of a region."""
    if radius == 0:
        return regions
    offset = torch.arange(-radius, radius + 1, device=regions.device)
    disk = (offset[:, None] ** 2 + offset**2 <= radius**2).float()
    return F.conv2d(regions.float().unsqueeze(1), disk[None, None], padding=radius).squeeze(1) > 0.5
