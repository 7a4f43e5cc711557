"""A comparison table with the maps that its numbers belong to."""

from collections.abc import Sequence
from dataclasses import replace

from relsplit.bench.runs.map_grid import map_grid
from relsplit.bench.runs.maps import MAPS, chosen, read_maps
from relsplit.papers.products.comparison import comparison
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product, RowLabel


def overview(rows: Sequence[Measured], brief: Brief, *, title: str, reference: RowLabel | None = None) -> Product:
    """The table and curves of :func:`relsplit.papers.products.comparison.comparison`, and maps, a column for each row.

    Args:
        rows: evaluations; those that left ``maps.npz`` (``task.pictures`` > 0) are shown in the grid.
        brief: what the table is made for.
        title: of the table.
        reference: row that the others are compared with.
    """
    product = comparison(rows, brief, title=title, reference=reference)
    maps = {row.label: read_maps(row.folders[0]) for row in rows if (row.folders[0] / MAPS).exists()}
    # Runs of another number of pictures may be among them: what all show is shown.
    fewest = min((len(each.sample_id) for each in maps.values()), default=0)
    shown = [(label, chosen(each, range(fewest))) for label, each in maps.items()]
    figures = {**product.figures, "maps": map_grid(shown)} if shown else product.figures
    return replace(
        product,
        figures=figures,
        notes=[*product.notes, f"pictures: {brief.folder}/maps.png, {brief.folder}/curves.png"],
    )
