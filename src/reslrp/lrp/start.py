"""The relevance that a map starts from: one class score per image."""

import torch
from torch import Tensor

from reslrp.errors import InputError

START = ("probability", "logit", "one")


def resolve_target(target: "int | Tensor | None", logits: Tensor) -> Tensor:
    """Return the explained class of each image, (N,) int64; None means the predicted one.

    Raises:
        InputError: wrong type or shape, or a class that the model does not have.
    """
    count, classes = logits.shape
    if target is None:
        return logits.argmax(1)
    if isinstance(target, bool) or not isinstance(target, (int, Tensor)):
        raise InputError(
            f"target: expected None, an int or a tensor of {count} class indices, not {type(target).__name__}"
        )
    if isinstance(target, int):
        target = torch.full((count,), target)
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise InputError(f"target: class indices must be integers, not {target.dtype}")
    if target.dim() == 0:
        target = target.expand(count)
    if target.shape != (count,):
        raise InputError(f"target: expected one class index per image, ({count},), not {tuple(target.shape)}")
    target = target.to(device=logits.device, dtype=torch.int64)
    if bool(((target < 0) | (target >= classes)).any()):
        raise InputError(f"target: class indices must lie in [0, {classes - 1}], found {target.tolist()[:8]}")
    return target


def start_relevance(logits: Tensor, target: Tensor, start: str) -> Tensor:
    """Return (N, classes) with the explained class's probability, logit or 1, and zero elsewhere."""
    index = target.unsqueeze(1)
    if start == "one":
        value = torch.ones_like(index, dtype=logits.dtype)
    else:
        value = (logits.softmax(1) if start == "probability" else logits).gather(1, index)
    return torch.zeros_like(logits).scatter_(1, index, value)
