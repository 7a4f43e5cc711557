"""A comparison table and, below it, how far each row's relevance is from the probability that it was begun with."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from relsplit.papers.products.comparison import comparison
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product, RowLabel
from relsplit.papers.reports.text_table import Cell, TextTable, words


def comparison_with_gaps(
    rows: Sequence[Measured], brief: Brief, *, title: str, reference: RowLabel | None = None
) -> Product:
    """The tables and curves of :func:`relsplit.papers.products.comparison.comparison`, and one of conservation gaps.

    Args:
        rows: evaluations of methods that distribute the probability of the explained class.
        brief: what the table is made for.
        title: of the table.
        reference: row that the others are compared with.
    """
    product = comparison(rows, brief, title=title, reference=reference)
    found = gaps(rows)
    cells = [
        [words(line["method"]), *(Cell(f"{line[name]:.1e}") for name in ("mean_gap", "largest_gap"))]
        for line in found.to_dict("records")
    ]
    table = TextTable(
        f"{title} — conservation, {brief.dataset}",
        ["Propagation", "mean gap", "largest gap"],
        [cells],
        ["Gap: |sum of relevance − p| / p of a sample, before anything is made of the map; 0 is conservation."],
    )
    assert product.frame is not None
    return replace(product, tables=[*product.tables, table], frame=product.frame.merge(found, on="method", how="left"))


def gaps(rows: Sequence[Measured]) -> pd.DataFrame:
    """Return ``method, mean_gap, largest_gap`` over the samples, one line per row that is no control."""
    lines = []
    for row in rows:
        if not row.control:
            gap = pd.concat(
                [(frame["relevance_sum"] - frame["probability"]).abs() / frame["probability"] for frame in row.samples]
            )
            lines.append({"method": row.label, "mean_gap": float(gap.mean()), "largest_gap": float(gap.max())})
    frame: pd.DataFrame = pd.DataFrame(lines)
    return frame
