"""Checks that every metric makes of the tensors it is given."""

import torch
from torch import Tensor

from reslrp.errors import InputError


def check_images(images: Tensor) -> None:
    """Raise InputError unless images is a floating (N, C, H, W) with N >= 1."""
    if images.ndim != 4 or not images.is_floating_point() or len(images) == 0:
        raise InputError(
            f"images must be a floating (N, C, H, W) with at least one image, not {images.dtype} {tuple(images.shape)}"
        )


def check_maps(maps: Tensor, images: Tensor) -> Tensor:
    """The maps (N, H, W) as finite floating numbers on the device of images (N, C, H, W), or InputError."""
    if maps.ndim == 4:
        raise InputError(
            f"maps {tuple(maps.shape)} still have channels: reduce them to (N, H, W) first, "
            "for example with reslrp.attribution.AttributionMap"
        )
    expected = (len(images), *images.shape[2:])
    if tuple(maps.shape) != expected:
        raise InputError(f"maps have shape {tuple(maps.shape)} but the images need {expected}: resize the maps first")
    return check_finite(maps.detach()).to(images.device)


def check_finite(maps: Tensor) -> Tensor:
    """The maps (N, ...) as floating numbers, or InputError that names the first map with NaN or infinity."""
    floating = maps if maps.is_floating_point() else maps.double()
    finite = torch.isfinite(floating).flatten(1).all(1)
    if not finite.all():
        raise InputError(f"map {int((~finite).int().argmax())} of the batch contains NaN or infinity: cannot be ranked")
    return floating


def check_targets(targets: Tensor, images: Tensor) -> Tensor:
    """The targets (N,) as non-negative int64 on the device of images, or InputError."""
    if tuple(targets.shape) != (len(images),) or targets.is_floating_point() or int(targets.min()) < 0:
        raise InputError(
            f"targets must be {len(images)} class indices, not {targets.dtype} of shape {tuple(targets.shape)}"
            + (" with negative values" if targets.numel() and int(targets.min()) < 0 else "")
        )
    return targets.to(images.device, torch.int64)
