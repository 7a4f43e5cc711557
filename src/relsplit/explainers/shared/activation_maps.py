"""Class activation maps of whatever has places: images, signals, volumes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.errors import InputError
from relsplit.explainers.shared.on_the_image import activation_on_the_image
from relsplit.networks.shared_network import Call

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def with_places(call: Call) -> Tensor:
    """Return the one input of a call, if it has places along one to three axes.

    Raises:
        InputError: it has none, or there are several inputs.
    """
    first = call.inputs.tensors[0]
    if not call.inputs.is_single or not first.is_floating_point() or first.dim() not in (3, 4, 5):
        raise InputError(
            "a class activation map is of one input with places, (N, C, L), (N, C, H, W) or (N, C, D, H, W); given are "
            f"{call.inputs}: hand others on with forward_kwargs=, or choose another explainer"
        )
    return first


def upsampled(maps: Tensor, size: torch.Size, align_corners: bool = False) -> Tensor:
    """Return maps (N, ...) at another size, interpolated linearly along each axis."""
    return F.interpolate(maps[:, None], size=size, mode=_MODES[len(size)], align_corners=align_corners)[:, 0]


def unit_range(maps: Tensor) -> Tensor:
    """Return each map (N, ...) scaled to [0, 1]; a constant one to 0."""
    axes = tuple(range(1, maps.dim()))
    maps = maps - maps.amin(dim=axes, keepdim=True)
    high = maps.amax(dim=axes, keepdim=True)
    return maps / high.masked_fill(high == 0, 1)


def smoothed_cam(cam: Tensor, images: Tensor, smoothing: float) -> Tensor:
    """Return the positive part of maps (N, h, w) as relevance pyramids are smoothed, in [0, 1] at the images' size.

    Raises:
        InputError: it is of something else than images (N, C, H, W).
    """
    if images.dim() != 4:
        raise InputError(f"smoothing is of images (N, C, H, W), not of inputs {tuple(images.shape)}: leave it out")
    return activation_on_the_image(cam, (images.shape[-2], images.shape[-1]), smoothing).to(images.dtype)
