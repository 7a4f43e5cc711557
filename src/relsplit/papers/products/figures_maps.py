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
from relsplit.pictures.overlay import overlay
from relsplit.pictures.plain_text import plain

_TILE = 1.3  # inches


def map_grid(
    columns: Sequence[tuple[str, Maps]],
    cmap: str = "jet",
    alpha: float = 0.4,
    outlier_percent: float = 2.0,
    transposed: bool = False,
) -> Figure:
    """Images beside the maps of several methods.

    Args:
        columns: (method, maps) with the same samples in the same order.
        cmap: colour map; the paper's is jet.
        alpha: opacity of the map.
        outlier_percent: share of the positive attribution that is clipped.
        transposed: images across and methods down, as in the supplement.

    Raises:
        InputError: the methods explain different samples.
    """
    first = columns[0][1]
    for label, maps in columns[1:]:
        if list(maps.sample_id) != list(first.sample_id):
            raise InputError(f"{label!r} and {columns[0][0]!r} explain different samples: explain the same ones")
    shape = (len(first.sample_id), len(columns) + 1)
    down, across = shape[::-1] if transposed else shape
    figure = Figure(figsize=(_TILE * across, _TILE * down))
    axes = figure.subplots(down, across, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    axes = axes.T if transposed else axes
    titles = [plain(textwrap.fill(title, 14)) for title in ("Original", *(label for label, _ in columns))]
    for row in range(shape[0]):
        tiles = [first.image[row] / 255] + [
            overlay(maps.image[row], maps.map[row], cmap, alpha, outlier_percent) for _, maps in columns
        ]
        for column, tile in enumerate(tiles):
            axis = axes[row, column]
            axis.imshow(tile, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for row, name in enumerate(first.class_name):
        shown = plain(textwrap.fill(str(name).replace("_", " "), 14))
        if transposed:
            axes[row, 0].set_title(shown, fontsize=8)
        else:
            axes[row, 0].set_ylabel(shown, fontsize=8)
    for column, title in enumerate(titles):
        if transposed:
            axes[0, column].set_ylabel(title, fontsize=8)
        else:
            axes[0, column].set_title(title, fontsize=8)
    return figure


class _KnownToMatplotlib(Constraint):
    def hold(self, value: Any) -> bool:
        return value in matplotlib.colormaps

    def __str__(self) -> str:
        return "that is a colour map of matplotlib's"


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
        cmaps: one or several of matplotlib's names.
        transposed: images across.

    Raises:
        InputError: the rows explain different samples, or fewer than any of ``images``.
    """
    cmaps = [cmaps] if isinstance(cmaps, str) else cmaps
    if not cmaps:
        raise InputError("reproduce.product.cmaps=[]: name at least one colour map of matplotlib's")
    columns = [(row.label, chosen(read_maps(row.folders[0]), images)) for row in rows]
    figures = {f"figure_{cmap}": map_grid(columns, cmap=cmap, transposed=transposed) for cmap in cmaps}
    shown = len(columns[0][1].sample_id)
    return Product(figures=figures, notes=[f"{shown} images of {brief.dataset}, colour maps {', '.join(cmaps)}."])
