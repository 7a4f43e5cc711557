"""Several images as one: where the cells of a grid lie, and images put into them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def tiled(images: Sequence[Tensor] | Tensor) -> Tensor:
    """Return n² images (C, ..., h, w) as one, n rows of n: from left to right, then down; a row's have one height."""
    n = math.isqrt(len(images))
    return torch.cat([torch.cat(list(images[row * n : (row + 1) * n]), -1) for row in range(n)], -2)


def cell_slices(height: int, width: int, n: int) -> list[tuple[slice, slice]]:
    """Return rows and columns of the n² cells of an image, in the order of :func:`tiled`.

    Where n does not divide a side, some cells are a pixel longer than others.
    """
    rows, columns = ([slice(i * side // n, (i + 1) * side // n) for i in range(n)] for side in (height, width))
    return [(row, column) for row in rows for column in columns]
