"""A comparison table with the maps that its numbers belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reslrp.results.figures_maps import chosen, map_grid
from reslrp.results.maps import MAPS, read_maps
from reslrp.results.measured import Measured
from reslrp.results.product import Product
from reslrp.results.tables import comparison


def overview(
    rows: Sequence[Measured], folder: Path, dataset: str, *, title: str, reference: str | None = None
) -> Product:
    """The table and curves of :func:`reslrp.results.tables.comparison`, and a grid of maps, one column a row.

    Args:
        rows: evaluations; those that left ``maps.npz`` (``task.pictures`` > 0) are shown in the grid.
        folder: where the product goes.
        dataset: what was measured.
        title: of the table.
        reference: row that the others are compared with.
    """
    product = comparison(rows, folder, dataset, title=title, reference=reference)
    maps = {row.label: read_maps(row.folders[0]) for row in rows if (row.folders[0] / MAPS).exists()}
    # Runs of another number of pictures may be among them: what all show is shown.
    fewest = min((len(each.sample_id) for each in maps.values()), default=0)
    shown = [(label, chosen(each, range(fewest))) for label, each in maps.items()]
    figures = {**product.figures, "maps": map_grid(shown)} if shown else product.figures
    return replace(
        product, figures=figures, notes=[*product.notes, f"pictures: {folder}/maps.png, {folder}/curves.png"]
    )
