"""A finished table or figure: what it shows, which files it has, and which runs it was made from."""

import io
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from matplotlib.figure import Figure

from relsplit.bench.runs.maps import Maps
from relsplit.errors import InputError
from relsplit.files import write_bytes, write_text
from relsplit.options import Constraint
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.published import Paper
from relsplit.papers.reports.text_table import TextTable, to_latex, to_markdown

PRODUCT = "product.json"
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]\d+(\.\d+)?(e[+-]?\d+)?")
_DESCRIPTION = {
    "name": str,
    "title": str,
    "paper": str | None,
    "dataset": str,
    "command": str,
    "tables": list,
    "figures": list,
    "notes": list,
    "rows": list,
}


@dataclass(frozen=True)
class Product:
    """What one experiment makes of its rows.

    Attributes:
        tables: to print and to write as ``table.md`` and ``table.tex``.
        frame: all numbers, written as ``table.csv``; None for a figure without numbers.
        figures: name to figure, written as ``<name>.pdf`` and ``<name>.png``.
        notes: lines to print below.
    """

    tables: list[TextTable] = field(default_factory=list)
    frame: pd.DataFrame | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


ExplainSamples = Callable[[Path, Sequence[str]], Maps]
"""(folder of a finished evaluation, sample ids) -> the maps of these samples, made as the evaluation made them."""


@dataclass(frozen=True)
class Brief:
    """What a product is made for.

    Attributes:
        folder: where it goes; files of an earlier time may lie there.
        dataset: name of what was measured.
        paper: that it belongs to, None for none.
        explain: explains samples of an evaluation once more, because an evaluation keeps no maps of all samples.
    """

    folder: Path
    dataset: str
    paper: Paper | None
    explain: ExplainSamples


class OfRow(Constraint):
    """Marks the options of a product that name one of its rows, which is checked before any is measured."""

    def hold(self, value: Any) -> bool:
        """Say that any label will do here: the rows are not known yet."""
        return True

    def __str__(self) -> str:
        return "that is the label of a row"


RowLabel = Annotated[str, OfRow()]
"""The label of one of the rows."""


ProductMaker = Callable[[Sequence[Measured], Brief], Product]
"""Makes a table or figure of an experiment's rows."""


def _in_csv(value: Any) -> Any:
    """Text in one line; what a spreadsheet would carry out (``=cmd()``, not ``-0.5``) gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.split())
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def write_product(folder: Path, product: Product, description: dict[str, Any], rows: Sequence[Measured]) -> None:
    """Write the tables, the figures and ``product.json``, from which the report is made.

    Args:
        folder: an existing folder; earlier files of the same names are replaced.
        product: what to write.
        description: name, title, dataset, command and the like.
        rows: what the product was made of.
    """
    if product.frame is not None:
        frame = product.frame.map(_in_csv).rename(columns=_in_csv)
        write_text(folder / "table.csv", frame.to_csv(index=False, lineterminator="\n"))
    if product.tables:
        write_text(folder / "table.md", "\n".join(to_markdown(table) for table in product.tables))
        write_text(folder / "table.tex", "\n".join(to_latex(table) for table in product.tables))
    for name, figure in product.figures.items():
        save_figure(figure, folder, name)
    content = {
        **description,
        "tables": [table.to_dict() for table in product.tables],
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
    write_text(folder / PRODUCT, json.dumps(content, indent=2) + "\n")


def read_product(folder: Path) -> dict[str, Any]:
    """Read ``product.json``.

    Raises:
        InputError: it is damaged.
    """
    path = folder / PRODUCT
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key, kind in _DESCRIPTION.items() if not isinstance(content[key], kind)]
        _ = [TextTable.from_dict(table) for table in content["tables"]]
        _ = [(row["label"], row["command"], [Path(run) for run in row["folders"]]) for row in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = [" ".join(str(error).split())[:80]]
    if wrong:
        raise InputError(f"{path} is damaged ({wrong[0]}): delete it and reproduce {folder.name} again")
    return content


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as vector PDF and as PNG; the same figure gives the same bytes."""
    kinds: dict[str, dict[str, Any]] = {"pdf": {"metadata": {"CreationDate": None}}, "png": {"dpi": 150}}
    for ending, options in kinds.items():
        content = io.BytesIO()
        figure.savefig(content, format=ending, bbox_inches="tight", **options)
        write_bytes(folder / f"{name}.{ending}", content.getbuffer())
