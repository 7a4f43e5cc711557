"""Images beside the maps of several methods, in one figure."""

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from relsplit.bench.runs.maps import Maps
from relsplit.errors import InputError
from relsplit.pictures.overlays import Array, light_overlay, overlay
from relsplit.pictures.plain_text import plain

_TILE = 1.3  # inches
_SPACE = 0.45
"""Between two strips, in tiles: room for the names of the methods."""
_MAPS = 8
"""Beside one original; further ones stand in the next strip, beside the original once more."""


def map_grid(columns: Sequence[tuple[str, Maps]], cmap: str | None = None, transposed: bool = False) -> Figure:
    """Images beside the maps of several methods.

    Args:
        columns: (method, maps) with the same samples in the same order.
        cmap: matplotlib's colour map, blended as in the paper (whose map is jet); None leaves the image as it is where
            nothing is relevant, see :func:`relsplit.pictures.overlays.light_overlay`.
        transposed: images across and methods down, as in the supplement.

    Raises:
        InputError: the methods explain different samples.
    """
    first = columns[0][1]
    for label, maps in columns[1:]:
        if list(maps.sample_id) != list(first.sample_id):
            raise InputError(f"{label!r} and {columns[0][0]!r} explain different samples: explain the same ones")
    strips = [columns[begin : begin + _MAPS] for begin in range(0, len(columns), _MAPS)]
    samples, tiles = len(first.sample_id), 1 + len(strips[0])
    one_strip = [1.0] * samples
    ratios = [*one_strip, *([_SPACE, *one_strip] * (len(strips) - 1))]
    if transposed:
        figure = Figure(figsize=(_TILE * sum(ratios), _TILE * tiles))
        grid = figure.add_gridspec(tiles, len(ratios), width_ratios=ratios, wspace=0.04, hspace=0.04)
    else:
        figure = Figure(figsize=(_TILE * tiles, _TILE * sum(ratios)))
        grid = figure.add_gridspec(len(ratios), tiles, height_ratios=ratios, wspace=0.04, hspace=0.04)
    for begin, strip in zip(range(0, len(ratios), samples + 1), strips, strict=True):
        for sample, name in enumerate(first.class_name):
            shown = [first.image[sample] / 255, *(_tile(maps, sample, cmap) for _, maps in strip)]
            for position, (tile, title) in enumerate(
                zip(shown, ("Original", *(label for label, _ in strip)), strict=True)
            ):
                line = begin + sample
                axis = figure.add_subplot(grid[(position, line) if transposed else (line, position)])
                axis.imshow(tile, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
                at_sample, at_method = (
                    (axis.set_title, axis.set_ylabel) if transposed else (axis.set_ylabel, axis.set_title)
                )
                if position == 0:
                    at_sample(_wrapped(str(name).replace("_", " ")), fontsize=8)
                if sample == 0:
                    at_method(_wrapped(title), fontsize=8)
    return figure


def _tile(maps: Maps, sample: int, cmap: str | None) -> Array:
    image, attribution = maps.image[sample], maps.map[sample]
    return light_overlay(image, attribution) if cmap is None else overlay(image, attribution, cmap)


def _wrapped(text: str) -> str:
    return plain("\n".join(textwrap.fill(line, 16) for line in text.splitlines()))
