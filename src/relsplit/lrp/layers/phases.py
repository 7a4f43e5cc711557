"""The transpose of a strided convolution of few channels, or of patches, phase by phase.

A vector unit computes 16 channels at once; with an image's three it would be idle for the most part. The pixels of one
phase (of equal remainder by the stride) see the same entries of the kernel, so that the phases of a convolution of
stride 2 are 4 x 3 channels of an ordinary one, with half the kernel's size and at the output's resolution.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.layers.weights import WeightPart

_LANES = 16


def is_better_by_phases(weight: Tensor, stride: list[int], dilation: list[int], groups: int) -> bool:
    """Say whether a convolution's transpose is better computed phase by phase: equal strides over 1, few channels.

    The phases of windows side by side, as of patches, are one product of matrices, however large the windows are.
    """
    if weight.dim() != 4 or groups != 1 or dilation != [1, 1] or stride[0] != stride[1] or stride[0] == 1:
        return False
    channels = weight.shape[1] if list(weight.shape[2:]) == stride else weight.shape[1] * stride[0] ** 2
    return channels <= _LANES


def phases(part: WeightPart, stride: list[int]) -> WeightPart:
    """Return a part of a weight (O, C, K, L) as the weight (C * stride^2, O, ...) of the convolution of all phases."""
    step = stride[0]

    def of(weight: Tensor) -> Tensor:
        weight = part.of(weight)
        outputs, inputs, *kernel = weight.shape
        taps = [math.ceil(size / step) for size in kernel]
        room = [tap * step - size for tap, size in zip(taps, kernel, strict=True)]
        whole = F.pad(weight, (0, room[1], 0, room[0]))
        split = whole.view(outputs, inputs, taps[0], step, taps[1], step).flip(2, 4)
        return split.permute(1, 3, 5, 0, 2, 4).reshape(inputs * step**2, outputs, *taps)

    return WeightPart(f"{part.name} in {step} phases", of)


def transpose_by_phases(s: Tensor, weight: Tensor, stride: list[int], padding: list[int], h: Tensor) -> Tensor:
    """Return the transposed convolution of ``s`` (N, O, ...), of the shape of ``h`` (N, C, H, W).

    Args:
        s: of the convolution's output shape.
        weight: from :func:`phases`.
        stride: of the convolution, equal in both directions.
        padding: of the convolution.
        h: its input.
    """
    reach = [tap - 1 for tap in weight.shape[2:]]
    whole = F.pixel_shuffle(torch.conv2d(s, weight, padding=reach), stride[0])
    # What lies beyond the last window gets nothing; what lies in the padding is cut off.
    bottom, right = (size + pad - found for size, pad, found in zip(h.shape[2:], padding, whole.shape[2:], strict=True))
    return F.pad(whole, (-padding[1], right, -padding[0], bottom))
