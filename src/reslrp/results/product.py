"""A finished table or figure: what it shows, which files it has, and which runs it was made from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reslrp.results.append_log import write_atomically
from reslrp.results.grid import Grid, to_latex, to_markdown
from reslrp.results.measured import Measured

PRODUCT = "product.json"


@dataclass(frozen=True)
class Product:
    """What one experiment makes of its rows.

    Attributes:
        grids: tables to print and to write as ``table.md`` and ``table.tex``.
        frame: all numbers, written as ``table.csv``; None for a figure without numbers.
        figures: name to figure, written as ``<name>.pdf`` and ``<name>.png``.
        notes: lines to print below.
    """

    grids: list[Grid] = field(default_factory=list)
    frame: pd.DataFrame | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


ProductMaker = Callable[[Sequence[Measured], Path, str], Product]
"""(rows, folder of the product, name of the data set) -> product."""


def write_product(folder: Path, product: Product, description: dict[str, Any], rows: Sequence[Measured]) -> None:
    """Write the tables, the figures and ``product.json``, from which the report is made.

    Args:
        folder: an existing folder; earlier files of the same names are replaced.
        product: what to write.
        description: name, title, dataset, command and the like.
        rows: what the product was made of.
    """
    if product.frame is not None:
        write_atomically(folder / "table.csv", product.frame.to_csv(index=False, lineterminator="\n"))
    if product.grids:
        write_atomically(folder / "table.md", "\n".join(to_markdown(grid) for grid in product.grids))
        write_atomically(folder / "table.tex", "\n".join(to_latex(grid) for grid in product.grids))
    for name, figure in product.figures.items():
        save_figure(figure, folder, name)
    content = {
        **description,
        "grids": [grid.to_dict() for grid in product.grids],
        "figures": list(product.figures),
        "notes": product.notes,
        "rows": [
            {
                "label": row.label,
                "folders": [os.path.relpath(path.resolve(), folder.resolve()) for path in row.folders],
                "command": row.command,
            }
            for row in rows
        ],
    }
    write_atomically(folder / PRODUCT, json.dumps(content, indent=2) + "\n")


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as vector PDF and as PNG; the same figure gives the same bytes."""
    figure.savefig(folder / f"{name}.pdf", bbox_inches="tight", metadata={"CreationDate": None})
    figure.savefig(folder / f"{name}.png", bbox_inches="tight", dpi=150)
