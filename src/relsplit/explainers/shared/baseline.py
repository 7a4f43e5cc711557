"""The image without information that a difference method compares with."""

from collections.abc import Sequence

import torch
from torch import Tensor

from relsplit.errors import InputError


class Baseline:
    """One colour, in normalised units.

    Args:
        colour: ``"zero"`` (0 after normalisation, the dataset's mean colour; captum's default), ``"black"`` (pixel
            value 0 before normalisation), one normalised value for all channels, or three.
        mean: of the normalisation, three values each; used for ``"black"`` only.
        std: see ``mean``.

    Raises:
        InputError: another colour, or ``"black"`` without mean and std.
    """

    def __init__(
        self,
        colour: str | float | Sequence[float],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if colour == "zero":
            values = [0.0]
        elif colour == "black":
            if mean is None or std is None or len(mean) != 3 or len(std) != 3:
                raise InputError("baseline black needs mean and std of the normalisation, three values each")
            values = [-m / s for m, s in zip(mean, std, strict=True)]
        elif isinstance(colour, (int, float)):
            values = [float(colour)]
        else:
            try:
                values = [float(value) for value in colour]
            except ValueError:
                values = []
        if len(values) not in (1, 3):
            raise InputError(f"baseline must be zero, black, a number or three numbers, not {colour!r}")
        self._values = values

    def like(self, images: Tensor) -> Tensor:
        """The baseline for ``images`` (N, 3, H, W), of the same shape."""
        values = torch.tensor(self._values, dtype=images.dtype, device=images.device)
        return values.reshape(1, -1, 1, 1).expand_as(images).contiguous()
