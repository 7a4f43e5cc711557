"""Figures of attribution maps: images down, methods across (paper Figures 5, 6, A, B, E, F)."""

from collections.abc import Sequence
from typing import Annotated, Any

import matplotlib

from relsplit.bench.runs.map_grid import map_grid
from relsplit.bench.runs.maps import chosen, read_maps
from relsplit.errors import InputError
from relsplit.options import Constraint, Limits, checked_options
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product

LIGHT = "light"
"""In place of a colour map: an overlay that leaves the photograph as it is where nothing is relevant."""


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
