"""The relevance that a map starts from: one class score per image, or what the user makes of the output."""

from collections.abc import Callable

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.networks.answer import Score

Start = Score
"""The score of the explained class that its relevance begins with."""
StartFunction = Callable[[Tensor], Tensor]
"""From the network's output to its relevance, of the same shape."""


def computed_start(output: Tensor, function: StartFunction, option: str) -> Tensor:
    """Return the relevance of ``output`` (N, ...) as a user's function has it, of the same shape and at least float32.

    Raises:
        InputError: it returns something else, or NaN or infinity.
    """
    relevance = function(output)
    if not isinstance(relevance, Tensor) or relevance.shape != output.shape:
        found = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance).__name__
        raise InputError(f"{option}: the function must return relevance of shape {tuple(output.shape)}, not {found}")
    relevance = (relevance if torch.is_grad_enabled() else relevance.detach()).to(
        torch.promote_types(output.dtype, torch.float32)
    )
    if not _are_finite(relevance):
        raise InputError(f"{option}: the function returns NaN or infinite relevance")
    return relevance


def check_finite(scores: Tensor) -> None:
    """Check what a model answers.

    Raises:
        InputError: it holds NaN or infinity.
    """
    if not _are_finite(scores):
        raise InputError("model: it answers with NaN or infinite scores: check its weights and the images")


def _are_finite(values: Tensor) -> bool:
    # The extremes of a language model's scores, NaN among them, are read in a twentieth of the time of a mask.
    return not values.numel() or bool(torch.stack(torch.aminmax(values)).isfinite().all())
