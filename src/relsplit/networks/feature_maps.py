"""Where the channels and the places are in what a layer returns."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["channels first", "channels last", "tokens"]
Shape = tuple[int, ...]
_PADDING = 4
"""By how many places a feature map of signals or volumes may be longer than these."""
MOST_SPECIAL_TOKENS = 8
"""Class, distillation and register tokens, which come before those of the grid."""


@dataclass(frozen=True)
class Layout:
    """How a feature map lies in a tensor.

    Attributes:
        kind: (N, C, h, w), (N, h, w, C), or tokens (N, T, C) whose last h * w are a grid; of signals (N, C, l) or
            (N, l, C), of volumes (N, C, d, h, w) or (N, d, h, w, C).
        places: (h, w), (l,) or (d, h, w).
    """

    kind: Kind
    places: Shape

    @property
    def cells(self) -> int:
        """Places of the map."""
        return math.prod(self.places)

    def grid(self, output: Tensor) -> Tensor:
        """Return the map (N, C, ...) that ``output`` holds."""
        if self.kind == "channels first":
            return output
        if self.kind == "channels last":
            return output.movedim(-1, 1)
        tokens = output[:, output.shape[1] - self.cells :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], *self.places)

    def back(self, grid: Tensor, output: Tensor) -> Tensor:
        """Return ``output`` with the map (N, C, ...) in its place, in memory of its own."""
        if self.kind == "channels first":
            return grid.clone()
        if self.kind == "channels last":
            return grid.movedim(1, -1).clone()
        return torch.cat([output[:, : output.shape[1] - self.cells], grid.flatten(2).transpose(1, 2)], 1)


def layout(output: object, count: int, size: Shape, steps_are_rows: bool | None = None) -> Layout | None:
    """Return how the feature map of ``count`` inputs lies in what a layer returned.

    Of a tensor of rank 4, the two neighbouring axes are the places that are to each other as H is to W; where both
    pairs are, channels come first. Tokens are a grid of the same shape behind at most :data:`MOST_SPECIAL_TOKENS`
    others, of several channels: a single column (N, T, 1) is the scores or features of an image as einsum,
    ``unsqueeze`` and one-dimensional convolutions write them.

    Args:
        output: of the layer.
        count: of inputs.
        size: of the inputs, without batch and channels: (H, W) of images, (L,) of signals, (D, H, W) of volumes.
        steps_are_rows: of signals, whether the layer is one that has the steps of a sequence in rows (N, l, C); None:
            it is not known.

    Returns:
        None where it holds no feature map; of signals also where it could be either way.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != count:
        return None
    if len(size) == 1:
        return _layout_of_signals(output, size[0], steps_are_rows)
    if len(size) == 3:
        return _layout_of_volumes(output, size)
    if output.ndim == 4:
        first, second, third = output.shape[1:]
        channels_first, channels_last = _is_like(second, third, size), _is_like(first, second, size)
        if channels_last and not channels_first:
            return Layout("channels last", (first, second))
        return Layout("channels first", (second, third)) if channels_first else None
    if output.ndim == 3 and output.shape[2] > 1:
        grid = _token_grid(output.shape[1], size)
        return None if grid is None else Layout("tokens", grid)
    return None


def _layout_of_signals(output: Tensor, length: int, steps_are_rows: bool | None) -> Layout | None:
    if output.ndim != 3:
        return None
    second, third = output.shape[1:]
    # Padding may add a few steps.
    rows, columns = second <= length + _PADDING, third <= length + _PADDING
    if rows and columns:
        rows, columns = steps_are_rows is True, steps_are_rows is False
    if not rows and not columns:
        return None
    return Layout("channels last", (second,)) if rows else Layout("channels first", (third,))


def _layout_of_volumes(output: Tensor, size: Shape) -> Layout | None:
    """The places are three neighbouring axes no longer than the volume's, the last two as H is to W."""
    if output.ndim != 5:
        return None
    either: tuple[Layout, ...] = (
        Layout("channels first", tuple(output.shape[2:])),
        Layout("channels last", tuple(output.shape[1:4])),
    )
    for found in either:
        fits = all(side <= whole + _PADDING for side, whole in zip(found.places, size, strict=True))
        if fits and _is_like(found.places[1], found.places[2], size[1:]):
            return found
    return None


def rows_are_channels(rows: Shape, below: Shape | None, size: tuple[int, int]) -> bool | None:
    """Say whether what looks like tokens (N, T, D) holds in its rows what the channels of a feature map say.

    ``map.mean(3)`` and ``map.flatten(2)`` have the shape of tokens wherever the number of channels could be one of
    patches.

    Args:
        rows: shape of a value that :func:`layout` takes for tokens.
        below: (N, C, h, w), shape of the nearest feature map that it was made of; None: of the images themselves.
        size: (H, W) of the images.

    Returns:
        None where the map has as many channels as cells, so that no shape tells.
    """
    if below is None:
        return False
    grid = _token_grid(rows[1], size)
    assert grid is not None  # it was taken for tokens
    channels, height, width = below[1:]
    if grid[0] > height or grid[1] > width:
        return True  # no grid is finer than what it was made of
    if rows[1] != channels:
        return False
    return None if grid == (height, width) else True


def _is_like(height: int, width: int, size: Shape) -> bool:
    """Whether a grid has the shape of the image, but for what rounding at every stride and padding take or add."""
    if height == width == 1:
        return True
    difference = abs(math.log(height * size[1]) - math.log(width * size[0]))
    return difference <= math.log1p(2 / min(height, width))


def _token_grid(tokens: int, size: Shape) -> tuple[int, int] | None:
    """The largest grid of square patches of the image that ``tokens`` can hold."""
    for patch in range(1, max(size) + 1):
        height, width = size[0] // patch, size[1] // patch
        if 1 < height * width <= tokens:
            return (height, width) if tokens - height * width <= MOST_SPECIAL_TOKENS else None
    return None
