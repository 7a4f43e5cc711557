"""Arithmetic on relevance and support that operations share."""

from collections.abc import Sequence

import torch
from torch import Tensor


def plus(total: Tensor, part: Tensor) -> Tensor:
    """Return ``total + part``, written over ``total`` where that can hold it: new memory costs more than the sum."""
    return total.add_(part) if can_hold(total, part) else total + part


def minus(total: Tensor, part: Tensor) -> Tensor:
    """Return ``total - part``, likewise."""
    return total.sub_(part) if can_hold(total, part) else total - part


def minus_product(total: Tensor, factor: Tensor, other: Tensor) -> Tensor:
    """Return ``total - factor * other``, likewise; neither factor has more entries than ``total``."""
    return total.addcmul_(factor, other, value=-1) if can_hold(total, factor) else total - factor * other


def times(share: Tensor | float, relevance: Tensor) -> Tensor:
    """Return ``share * relevance``, written over the share where that can hold it."""
    if isinstance(share, Tensor) and can_hold(share, relevance):
        return share.mul_(relevance)
    return relevance * share


def can_hold(total: Tensor, part: Tensor) -> bool:
    """Say whether a result of the shape of ``part`` may be written over ``total``."""
    if torch.is_grad_enabled():  # autograd may have kept it
        return False
    dense = total.is_contiguous() or (total.dim() == 4 and total.is_contiguous(memory_format=torch.channels_last))
    return dense and total.shape == part.shape and total.dtype == part.dtype


def where_supported(h: Tensor, support: Tensor | None) -> Tensor:
    """Return ``h`` with its constant entries at zero: they contribute nothing that could be explained."""
    return h if support is None else torch.where(support > 0, h, 0)


def supported(reached: Tensor, mixes: bool = False) -> Tensor | None:
    """Return a support of ``reached`` (booleans), None where it is everywhere.

    Args:
        reached: where a value depends on the input.
        mixes: whether the operation can make it depend on the input everywhere; only then is an accelerator, which has
            to be waited for, asked whether it does.
    """
    is_asked = mixes or reached.device.type == "cpu"
    return None if is_asked and bool(reached.all()) else reached.float()


def union(supports: Sequence[Tensor | None], shape: Sequence[int]) -> Tensor | None:
    """Return where any of the values that meet in an operation depends on the input; None: everywhere.

    Args:
        supports: of one value or more, which may be broadcast.
        shape: of what the operation makes.
    """
    known = [support.broadcast_to(shape) > 0 for support in supports if support is not None]
    if len(known) < len(supports):
        return None
    return supported(torch.stack(known).any(0), mixes=len(known) > 1)
