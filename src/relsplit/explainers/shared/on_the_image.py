"""Relevance of coarse grids, handed to the pixels without losing any."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.options import Limits

Smoothing = Annotated[float, Limits(minimum=0, maximum=1)]
"""Standard deviation of a Gaussian, as a share of the image's longer side."""


def on_the_image(relevance: Tensor, size: tuple[int, int], smoothing: float) -> Tensor:
    """Distribute every cell's relevance over the pixels around it, so that each map keeps its sum.

    A cell gives to the pixels as bilinear interpolation reads from it, blurred by a Gaussian that is reflected at the
    border, as if the image went on as its own mirror image. What a cell gives adds up to what it has.

    Args:
        relevance: (N, h, w).
        size: (H, W) of the image.
        smoothing: standard deviation of the Gaussian as a share of the image's longer side; 0: none.

    Returns:
        (N, H, W).
    """
    sigma = smoothing * max(size)
    down, right = (
        _weights(cells, pixels, sigma).to(relevance) for cells, pixels in zip(relevance.shape[1:], size, strict=True)
    )
    return down @ relevance @ right.T


def mean_on_the_image(stages: Sequence[Tensor], size: tuple[int, int], smoothing: float) -> Tensor:
    """Return the mean over several grids (N, h, w) of :func:`on_the_image`, (N, H, W)."""
    return torch.stack([on_the_image(stage, size, smoothing) for stage in stages]).mean(0)


def mean_of_shares(nets: Sequence[Tensor], size: tuple[int, int], smoothing: float | None) -> tuple[Tensor, Tensor]:
    """Scale several grids so that each has the absolute sum 1, and return their mean on the image.

    Args:
        nets: (N, h, w) each; one that is 0 everywhere plays no part in its image.
        size: (H, W) of the image.
        smoothing: see :func:`on_the_image`; None where the grids are of the image's size and stay as they are.

    Returns:
        (N, H, W) of absolute sum 1 (of both signs they cancel, and are scaled again), evenly spread where no grid plays
        a part; and for which images that is, (N,) bool.
    """
    maps = nets[0].new_zeros((len(nets[0]), *size))
    for net in nets:
        total = net.abs().sum((1, 2), keepdim=True)
        share = net / total.masked_fill(total == 0, 1)
        maps = maps + (share if smoothing is None else on_the_image(share, size, smoothing))
    total = maps.abs().sum((1, 2), keepdim=True)
    is_flat = total == 0
    even = torch.full_like(maps, 1 / maps[0].numel())
    return torch.where(is_flat, even, maps / total.masked_fill(is_flat, 1)), is_flat.flatten()


def smoothed(maps: Tensor, images: Tensor, smoothing: float | None) -> Tensor:
    """Return maps (N, h, w) as :func:`on_the_image` hands them to ``images`` (N, C, H, W); None leaves them alone.

    Raises:
        InputError: maps of anything but images are to be smoothed.
    """
    if smoothing is None:
        return maps
    if images.dim() != 4:
        raise InputError(f"smoothing is of images (N, C, H, W), not of inputs {tuple(images.shape)}: leave it out")
    return on_the_image(maps, (images.shape[-2], images.shape[-1]), smoothing)


def activation_on_the_image(activation: Tensor, size: tuple[int, int], smoothing: float) -> Tensor:
    """Hand class activation maps to the pixels as relevance is, and scale each so that its greatest value is 1.

    Args:
        activation: (N, h, w), of which the positive part counts.
        size: (H, W) of the image.
        smoothing: see :func:`on_the_image`.

    Returns:
        (N, H, W) in [0, 1]; 0 everywhere where nothing is positive.
    """
    maps = on_the_image(activation.clamp(min=0), size, smoothing)
    highest = maps.amax((1, 2), keepdim=True)
    return maps / highest.masked_fill(highest == 0, 1)


def _weights(cells: int, pixels: int, sigma: float) -> Tensor:
    """(pixels, cells), float64, every column of sum 1: what a cell gives to each pixel along one side."""
    place = torch.arange(pixels, dtype=torch.float64)
    cell = pixels / cells
    centers = (torch.arange(cells, dtype=torch.float64) + 0.5) * cell - 0.5
    # A cell smaller than a pixel reaches the pixels beside it all the same.
    weights = (1 - (place[:, None] - centers).abs() / max(cell, 1.0)).clamp(min=0)
    if sigma > 0:
        weights = _reflected_gaussian(place, sigma) @ weights
    return weights / weights.sum(0)


def _reflected_gaussian(place: Tensor, sigma: float) -> Tensor:
    """(pixels, pixels): what each pixel gives to each, with what falls beyond the border reflected; sigma <= pixels."""
    period = 2 * len(place)
    mirrored = torch.cat([place, -1 - place])
    copies = torch.stack([mirrored + period * turn for turn in range(-2, 3)]).reshape(5, 2, 1, -1)
    return torch.exp(-0.5 * ((place[:, None] - copies) / sigma) ** 2).sum((0, 1))
