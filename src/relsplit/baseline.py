"""The image without information: what pixels are replaced with, and what attributions are differences from.

Metrics and explainers take the same words for it.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.errors import InputError
from relsplit.options import Length, Positive, checked_options

Baseline = Literal["mean", "black", "blur"] | float | Annotated[Sequence[float], Length(3)]
"""``"mean"`` is the data set's mean colour, 0 after normalisation (what RISE's released code deletes with, captum's
default); ``"black"`` pixel value 0 before normalisation, (0 - mean) / std (the released code); ``"blur"`` the image
under RISE's Gaussian, 11 taps and sigma 5 (what its released code inserts into); a number is the normalised value of
every channel, three are those of three channels."""

_BLUR_TAPS = 11
_BLUR_SIGMA = 5.0


@checked_options
class BaselineImage:
    """Makes the baseline of images.

    Args:
        baseline: which one.
        mean: what the images were normalised with, one value per channel; needed for ``"black"``.
        std: see ``mean``.

    Raises:
        InputError: an unknown baseline, or ``"black"`` without mean and std.
    """

    def __init__(
        self, baseline: Baseline, mean: Sequence[float] | None = None, std: Sequence[Positive] | None = None
    ) -> None:
        if baseline == "black" and (mean is None or std is None):
            raise InputError("baseline black needs mean and std of the normalisation, one value per channel")
        self._baseline, self._mean, self._std = baseline, tuple(mean or ()), tuple(std or ())

    def of(self, images: Tensor) -> Tensor:
        """Return the baseline of normalised ``images`` (N, C, H, W).

        Returns:
            (1, C, 1, 1) for one colour, (N, C, H, W) for "blur".

        Raises:
            InputError: the baseline, or mean and std, are of another number of channels.
        """
        channels = images.shape[1]
        if self._baseline == "blur":
            return _blurred(images)
        if self._baseline == "black":
            if len(self._mean) != channels or len(self._std) != channels:
                raise InputError(
                    f"images have {channels} channels but mean and std have {len(self._mean)} and {len(self._std)} "
                    "entries: pass the mean and std that the images were normalised with"
                )
            colour = -images.new_tensor(self._mean) / images.new_tensor(self._std)
        else:
            colour = images.new_tensor(0.0 if self._baseline == "mean" else self._baseline)
        if colour.numel() not in (1, channels):
            raise InputError(f"baseline: {colour.numel()} values for images of {channels} channels: give one for each")
        return colour.expand(channels).reshape(1, channels, 1, 1)


def _blurred(images: Tensor) -> Tensor:
    channels = images.shape[1]
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
