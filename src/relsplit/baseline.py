"""The input without information: what pixels or tokens are replaced with, and what attributions are differences from.

Metrics and explainers take the same words for it.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.errors import InputError
from relsplit.options import Length, Positive, checked_options

Baseline = Literal["mean", "black", "blur", "zero"] | float | Annotated[Sequence[float], Length(3)]
"""Of images, signals, volumes and tables ``"mean"`` and ``"zero"`` are 0, which after normalisation is the data set's
mean colour (what RISE's released code deletes with, captum's default); ``"black"`` pixel value 0 before normalisation,
(0 - mean) / std (the released code); ``"blur"`` the input under RISE's Gaussian, 11 taps and sigma 5 along each axis
(what its released code inserts into); a number is the normalised value of every channel, three are those of three.

Of tokens, ``"zero"`` is a vector of zeros, ``"mean"`` the mean of the table that they are looked up in, ``"blur"`` the
vectors under that Gaussian along the sequence, and a whole number a token, such as the mask token."""

_BLUR_TAPS = 11
_BLUR_SIGMA = 5.0


@checked_options
class BaselineImage:
    """Makes the baseline of images, of what else a network is given, and of tokens.

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

    @property
    def token(self) -> int | None:
        """The token that it is of tokens; None: it is no token."""
        is_whole = isinstance(self._baseline, (int, float)) and float(self._baseline).is_integer()
        return int(self._baseline) if is_whole else None  # type: ignore[arg-type]  # it is a number

    def of(self, images: Tensor) -> Tensor:
        """Return the baseline of normalised ``images`` (N, C, H, W), or of other values with the channels second.

        Returns:
            (1, C, 1, ...) for one colour, (N, C, ...) for "blur".

        Raises:
            InputError: the baseline, or mean and std, are of another number of channels; or a blur of tables (N, F),
                which have no places.
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
            colour = images.new_tensor(0.0 if self._baseline in ("mean", "zero") else self._baseline)
        if colour.numel() not in (1, channels):
            raise InputError(f"baseline: {colour.numel()} values for images of {channels} channels: give one for each")
        return colour.expand(channels).reshape(1, channels, *[1] * (images.dim() - 2))

    def of_vectors(self, vectors: Tensor, table: Tensor) -> Tensor:
        """Return the baseline of the vectors (N, T, D) of tokens.

        Args:
            vectors: that were looked up.
            table: (vocabulary, D), in which.

        Returns:
            (1, 1, D), or (N, T, D) for "blur".

        Raises:
            InputError: it is a colour, or no token of the table.
        """
        if self._baseline == "blur":
            return _blurred(vectors.transpose(1, 2)).transpose(1, 2)
        if self._baseline == "zero":
            return vectors.new_zeros(1, 1, vectors.shape[2])
        table = table.detach()
        if self._baseline == "mean":
            return table.mean(0)[None, None].to(vectors)
        if self.token is None or not 0 <= self.token < len(table):
            raise InputError(
                f"baseline={self._baseline}: of tokens it is zero, mean, blur, or one of the {len(table)} tokens, such "
                "as the mask token"
            )
        return table[self.token][None, None].to(vectors)


def _blurred(images: Tensor) -> Tensor:
    if images.dim() == 2:
        raise InputError(f"baseline=blur: a table {tuple(images.shape)} has no places to blur: choose another baseline")
    if images.dim() != 4:
        for axis in range(2, images.dim()):
            rows = images.movedim(axis, -1)
            flat = rows.reshape(-1, 1, rows.shape[-1])
            images = F.conv1d(flat, _blur_kernel().to(images)[None, None], padding=_BLUR_TAPS // 2)
            images = images.reshape(rows.shape).movedim(-1, axis)
        return images
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
