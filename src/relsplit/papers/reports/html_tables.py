"""Tables of the HTML page. They are complete without JavaScript, which only adds sorting."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from relsplit.bench.runs.records import SCORES
from relsplit.bench.runs.summary import further_metrics, score_column
from relsplit.papers.reports.text_table import Cell, TextTable, number, words


def titled_table(table: TextTable) -> str:
    """A table with its title above and its notes below."""
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    return f'<h3>{html.escape(table.title)}</h3><div class="scroll">{_table(table)}</div>{notes}'


def evaluations_table(summaries: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """One row per evaluation; a click on it shows its samples.

    Args:
        summaries: one per evaluation.
        labels: what each is called in the table that it was made for, or its folder's name.
    """
    protocols = list(dict.fromkeys(name for summary in summaries for name in summary["protocols"]))
    header = [
        "Evaluation",
        "Explainer",
        "Splitting",
        "Data",
        "Model",
        "Seed",
        "Samples",
        "Accuracy",
        "Forwards",
        "s/map",
    ]
    header += [f"{score} {protocol}" for protocol in protocols for score in ("Ins.", "Del.", "ID")]
    further = list(dict.fromkeys(name for summary in summaries for name in further_metrics(summary)))
    header += [name.replace("_", " ") for name in further]
    rows = []
    for summary, label in zip(summaries, labels, strict=True):
        cells = [words(label)]
        cells += [words(str(summary.get(name) or "–")) for name in ("explainer", "split", "dataset", "model")]
        cells += [Cell(str(summary[name])) for name in ("seed", "num_samples")]
        cells += [number(summary["accuracy"]), _short(summary["forward_equivalents"])]
        cells.append(_short(summary["seconds_per_sample"]))
        for protocol in protocols:
            for score in SCORES:
                column = score_column(score, protocol, summary["protocols"]) if protocol in summary["protocols"] else ""
                cells.append(number(summary.get(column)))
        cells += [number(summary.get(name)) for name in further]
        rows.append(cells)
    return _table(TextTable("", header, [rows], []), pick=True) if rows else ""


def attributes_table(attributes: Mapping[str, Any]) -> str:
    """Names and values in two columns."""
    rows = [[words(str(name)), words(str(value))] for name, value in attributes.items()]
    return _table(TextTable("", ["what", "value"], [rows]))


def _short(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:.3g}")


def _table(table: TextTable, pick: bool = False) -> str:
    numeric = [cell.number for cell in table.groups[0][0]]
    head = "".join(
        f"<th{_class('number' if is_number else '')}>{html.escape(name)}</th>"
        for name, is_number in zip(table.header, numeric, strict=True)
    )
    index = iter(range(sum(len(group) for group in table.groups)))
    bodies = "".join(
        "<tbody>"
        + "".join(
            f"<tr{f' class=pick data-run={next(index)}' if pick else ''}>{''.join(map(_cell, row))}</tr>"
            for row in group
        )
        + "</tbody>"
        for group in table.groups
    )
    return f'<table class="sortable"><thead><tr>{head}</tr></thead>{bodies}</table>'


def _cell(cell: Cell) -> str:
    error = f' <span class="error">± {html.escape(cell.error)}</span>' if cell.error else ""
    names = " ".join(name for name, wanted in (("number", cell.number), ("best", cell.bold)) if wanted)
    return f"<td{_class(names)}>{html.escape(cell.text)}{error}</td>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
