"""A volume by slices, each under its relevance."""

from collections.abc import Sequence
from operator import index

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import Tensor

from relsplit.errors import InputError
from relsplit.pictures.overlays import light_overlay
from relsplit.pictures.signed import AGAINST, FOR, check_same_shape, real_array

COLUMNS = 4
"""Slices beside one another."""


def slices(
    volume: "Tensor | npt.NDArray[np.floating]",
    relevance: "Tensor | npt.NDArray[np.floating]",
    shown: "int | Sequence[int]" = 8,
) -> Figure:
    """Draw slices of a volume, grey, under their relevance, and below them how much of it lies in every slice.

    All slices share one scale of grey and one of relevance, as :func:`relsplit.pictures.light_overlay` has it.

    Args:
        volume: (D, H, W), in any unit; the slices are along the first dimension.
        relevance: of the same shape, such as ``LRP(model).attribute(volume[None, None])[0, 0]``.
        shown: how many slices, evenly from the first to the last, or which ones, 0 for the first.

    Returns:
        A figure of matplotlib's; the last of its axes is that of the relevance of all slices.

    Raises:
        InputError: another or another's shape, a value that is NaN or infinite, or a slice that the volume does not
            have.

    Examples:
        >>> import torch
        >>> figure = slices(torch.rand(12, 16, 16), torch.rand(12, 16, 16), shown=[2, 5, 9])
        >>> figure.axes[1].get_title()
        'slice 5'
    """
    values = real_array(volume, "volume", ("D", "H", "W"))
    shares = real_array(relevance, "relevance", ("D", "H", "W"))
    check_same_shape(shares, values, "volume")
    depth, height, width = values.shape
    chosen = _chosen(shown, depth)
    low, high = values.min(), values.max()
    grey = (255 * (values - low) / ((high - low) or 1)).round().astype(np.uint8).reshape(depth * height, width)
    # As one picture, so that all slices are on one scale.
    laid = light_overlay(np.repeat(grey[..., None], 3, axis=2), shares.reshape(depth * height, width))
    laid = laid.reshape(depth, height, width, 3)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(
        figsize=(1.9 * max(columns, 2), 1.9 * rows * height / width + 0.25 * rows + 1.3), layout="constrained"
    )
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[1.9 * height / width + 0.25] * rows, 1.1])
    for place, number in enumerate(chosen):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        axes.imshow(laid[number], interpolation="nearest")
        axes.set_title(f"slice {number}", fontsize=9)
        axes.set_axis_off()
    below = figure.add_subplot(grid[rows, :])
    for part, colour in ((np.maximum(shares, 0), FOR), (np.minimum(shares, 0), AGAINST)):
        if part.any():
            below.bar(range(depth), part.sum((1, 2)), color=colour, width=0.8)
    below.plot(chosen, [0] * len(chosen), "^", color="0.2", markersize=5, clip_on=False, zorder=3)
    below.axhline(0, color="0.6", linewidth=0.7)
    below.set_xlim(-0.7, depth - 0.3)
    below.set_xlabel("slice (▲ shown above)", fontsize=9)
    below.set_ylabel("relevance", fontsize=9)
    below.tick_params(labelsize=8)
    below.spines[["top", "right"]].set_visible(False)
    return figure


def _chosen(shown: "int | Sequence[int]", depth: int) -> list[int]:
    if isinstance(shown, (int, np.integer)):
        if shown < 1:
            raise InputError(f"shown: expected at least one slice, not {shown}")
        return np.linspace(0, depth - 1, min(int(shown), depth)).round().astype(int).tolist()  # type: ignore[no-any-return]
    try:
        found = [index(number) for number in shown]
    except TypeError:
        raise InputError(f"shown: expected how many slices, or a list of their numbers, not {shown!r}") from None
    if not found or not all(0 <= number < depth for number in found):
        raise InputError(f"shown: expected slices from 0 to {depth - 1}, not {found}")
    return found
