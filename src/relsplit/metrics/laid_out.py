"""Signals and volumes laid out as images, so that what is measured by taking pixels away is measured of them, too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.checks import as_tensor, checked_batch
from relsplit.errors import InputError


class LaidOut(nn.Module):
    """A network of signals or volumes that takes them as images.

    Args:
        model: of the user.
        shape: (C, ...) of one of its inputs.
    """

    def __init__(self, model: nn.Module, shape: torch.Size) -> None:
        super().__init__()
        self.model = model
        self.shape = shape

    def forward(self, images: Tensor) -> Any:
        """Return what the network answers."""
        return self.model(images.reshape(len(images), *self.shape))


def laid_out(
    model: nn.Module, inputs: Tensor, maps: Sequence[Tensor], only_points: bool = True
) -> tuple[nn.Module, Tensor, list[Tensor]]:
    """Return a network, inputs and maps as of images, (N, C, H, W) and (N, H, W); those of images are left as they are.

    A signal (N, C, L) is a row, a volume (N, C, D, H, W) has its slices below each other.

    Args:
        model: of the inputs.
        inputs: with places behind the channels.
        maps: (N, ...) with the places alone.
        only_points: whether places are taken one by one; what looks at their neighbours is of images alone.

    Raises:
        InputError: maps of another shape, or signals where neighbours count.
    """
    if not isinstance(inputs, Tensor) or inputs.dim() == 4 or inputs.dim() < 3:
        return model, inputs, list(maps)
    inputs = checked_batch(inputs, "inputs")
    if not inputs.is_floating_point():
        raise InputError(f"inputs: expected floating point values of signals or volumes, not {inputs.dtype}")
    if not only_points:
        raise InputError(f"patches and a blur are of images (N, C, H, W), not of inputs {tuple(inputs.shape)}")
    found = [as_tensor(each) for each in maps]
    expected = (len(inputs), *inputs.shape[2:])
    for each in found:
        if tuple(each.shape) != expected:
            raise InputError(
                f"maps have shape {tuple(each.shape)} but the inputs {tuple(inputs.shape)} need {expected}"
            )
    rows = inputs[0, 0].numel() // inputs.shape[-1]
    images = inputs.reshape(len(inputs), inputs.shape[1], rows, inputs.shape[-1])
    return LaidOut(model, inputs.shape[1:]), images, [each.reshape(len(inputs), rows, -1) for each in found]
