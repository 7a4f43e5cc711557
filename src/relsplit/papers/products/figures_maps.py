"""Figures of attribution maps: images down, methods across (paper Figures 5, 6, A, B, E, F)."""

import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import matplotlib
from matplotlib.figure import Figure

from relsplit.bench.runs.maps import Maps, chosen, read_maps
from relsplit.errors import InputError
from relsplit.options import Constraint, Limits, checked_options
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product
from relsplit.pictures.overlays import Array, light_overlay, overlay
from relsplit.pictures.plain_text import plain

_TILE = 1.3  # inches
LIGHT = "light"
"""In place of a colour map: an overlay that leaves the photograph as it is where nothing is relevant."""
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


class _KnownToMatplotlib(Constraint):
    def hold(self, value: Any) -> bool:
        return value == LIGHT or value in matplotlib.colormaps

    def __str__(self) -> str:
        return "that is a colour map of matplotlib's, or light"


ColourMap = Annotated[str, _KnownToMatplotlib()]


@checked_options
def qualitative(
    rows: Sequence[Measured],
    brief: Brief,
    *,
    images: Sequence[Annotated[int, Limits(minimum=0)]],
    cmaps: Sequence[ColourMap] | ColourMap,
    transposed: bool = False,
) -> Product:
    """A figure per colour map (``figure_<cmap>``), with one column of maps per row of the experiment.

    Args:
        rows: methods; their folders hold ``maps.npz``.
        brief: what the figure is made for.
        images: positions of the shown samples among those explained; what is beyond them is left out.
        cmaps: one or several of matplotlib's names, blended as in the paper, and "light", which leaves the photograph
            as it is where nothing is relevant.
        transposed: images across.

    Raises:
        InputError: the rows explain different samples, or fewer than any of ``images``.
    """
    cmaps = [cmaps] if isinstance(cmaps, str) else cmaps
    if not cmaps:
        raise InputError("reproduce.product.cmaps=[]: name at least one colour map of matplotlib's, or light")
    columns = [(row.label, chosen(read_maps(row.folders[0]), images)) for row in rows]
    figures = {f"figure_{cmap}": map_grid(columns, None if cmap == LIGHT else cmap, transposed) for cmap in cmaps}
    shown = len(columns[0][1].sample_id)
    return Product(figures=figures, notes=[f"{shown} images of {brief.dataset}, colour maps {', '.join(cmaps)}."])
