"""Does the attribution lie on the object? Regions are boxes or segmentations, as masks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from reslrp.errors import InputError
from reslrp.metrics.inputs import check_finite
from reslrp.metrics.sample_mean import SampleMean


def energy_inside(maps: Tensor, regions: Tensor) -> Tensor:
    """Share (N,) in [0, 1] of the positive attribution that lies inside the region.

    maps: (N, H, W); negative attribution counts as none, because it speaks against the class. A map without any
    positive attribution scores 0. regions: (N, H, W) boolean, not empty.
    Energy-based pointing game of Wang et al. 2020 (Score-CAM), Sec. 4.3.
    """
    maps = _check(maps, regions)
    positive = maps.double().clamp(min=0)
    total = positive.sum((1, 2))
    inside = (positive * regions.to(maps.device)).sum((1, 2))
    return torch.where(total > 0, inside / total, torch.zeros_like(total))


def pointing_game(maps: Tensor, regions: Tensor, tolerance: int = 0) -> Tensor:
    """1 where the maximum of a map hits its region, 0 where it misses; (N,).

    Where several pixels share the maximum, the share of them that hit, which is the chance of a hit if one of them is
    drawn: a constant map earns the region's area and no more. tolerance: a maximum within so many pixels (Euclidean)
    of the region is a hit; Zhang et al. 2016 (Excitation Backprop), Sec. 4.1, allow 15.
    maps: (N, H, W); regions: (N, H, W) boolean, not empty.
    """
    maps = _check(maps, regions)
    if tolerance < 0:
        raise InputError(f"tolerance={tolerance} must be at least 0 pixels")
    hit = _dilate(regions.to(maps.device), tolerance)
    maxima = maps == maps.amax((1, 2), keepdim=True)
    return (maxima & hit).sum((1, 2)).double() / maxima.sum((1, 2))


class EnergyInside(SampleMean):
    """Mean share of the positive attribution inside the region, see `energy_inside`."""

    higher_is_better = True

    def update(self, maps: Tensor, regions: Tensor) -> None:
        self.add(energy_inside(maps, regions))


class PointingGame(SampleMean):
    """Share of samples whose maximum lies in the region, see `pointing_game`."""

    higher_is_better = True

    def __init__(self, tolerance: int = 0) -> None:
        super().__init__()
        self.tolerance = tolerance

    def update(self, maps: Tensor, regions: Tensor) -> None:
        self.add(pointing_game(maps, regions, self.tolerance))


def _check(maps: Tensor, regions: Tensor) -> Tensor:
    if maps.ndim != 3 or maps.shape != regions.shape:
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
    return check_finite(maps.detach())


def _dilate(regions: Tensor, radius: int) -> Tensor:
    """Every pixel within radius pixels of a region."""
    if radius == 0:
        return regions
    offset = torch.arange(-radius, radius + 1, device=regions.device)
    disk = (offset[:, None] ** 2 + offset**2 <= radius**2).float()
    return F.conv2d(regions.float().unsqueeze(1), disk[None, None], padding=radius).squeeze(1) > 0.5
