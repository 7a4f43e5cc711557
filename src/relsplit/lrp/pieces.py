"""Elementwise work on large tensors piece by piece, so that what one step writes is still in the cache for the next."""

from collections.abc import Iterator

import torch
from torch import Tensor

ELEMENTS = 2**17
"""Of a piece: half a MiB in float32, of which a core's cache holds a few."""


def in_pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of the same elements of every tensor, which together cover all of them.

    On a GPU, and where the tensors do not lie in memory in the same order, there is one piece: the whole.

    Args:
        tensors: of equal shapes.
    """
    flat = _flat(tensors) if tensors[0].device.type == "cpu" else None
    if flat is None:
        yield tensors
    else:
        yield from zip(*(tensor.split(ELEMENTS) for tensor in flat), strict=True)


def _flat(tensors: tuple[Tensor, ...]) -> list[Tensor] | None:
    if all(tensor.is_contiguous() for tensor in tensors):
        return [tensor.view(-1) for tensor in tensors]
    if all(tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors):
        return [tensor.permute(0, 2, 3, 1).view(-1) for tensor in tensors]
    return None
