"""What a pixel is replaced with when it is taken away."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.errors import InputError
from relsplit.options import Positive, checked_options

Baseline = Literal["black", "mean", "blur"]

_BLUR_TAPS = 11
_BLUR_SIGMA = 5.0


@checked_options
def baseline_image(images: Tensor, kind: Baseline, mean: Sequence[float], std: Sequence[Positive]) -> Tensor:
    """Return the replacement for images that were normalised with ``mean`` and ``std``.

    Args:
        images: (N, C, H, W).
        kind: "black" is pixel value 0 before normalisation, (0 - mean) / std (released code); "mean" the data set's
            mean colour, 0 after normalisation (what RISE's released code deletes with); "blur" the image under RISE's
            Gaussian, 11 taps and sigma 5 (what its released code inserts into).
        mean: one value per channel.
        std: one value per channel.

    Returns:
        (1, C, 1, 1) for one colour, (N, C, H, W) for "blur".

    Raises:
        InputError: an unknown kind, or a mean or std of another number of channels.
    """
    channels = images.shape[1]
    if kind == "black":
        if len(mean) != channels or len(std) != channels:
            raise InputError(
                f"images have {channels} channels but mean and std have {len(mean)} and {len(std)} entries: "
                "pass the mean and std that the images were normalised with"
            )
        return (-images.new_tensor(mean) / images.new_tensor(std)).view(1, channels, 1, 1)
    if kind == "mean":
        return images.new_zeros(1, channels, 1, 1)
    kernel = _blur_kernel().to(images)
    vertical = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    horizontal = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    margin = _BLUR_TAPS // 2
    blurred = F.conv2d(images, vertical, padding=(margin, 0), groups=channels)
    return F.conv2d(blurred, horizontal, padding=(0, margin), groups=channels)


def _blur_kernel() -> Tensor:
    """One axis of RISE's kernel: a Gaussian cut at 4 sigma and reflected into its 11 taps."""
    reach = int(4 * _BLUR_SIGMA)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / _BLUR_SIGMA) ** 2)
    folded = (torch.arange(-reach, reach + 1) + _BLUR_TAPS // 2) % _BLUR_TAPS
    return torch.zeros(_BLUR_TAPS, dtype=torch.float64).index_add(0, folded, weights / weights.sum())
