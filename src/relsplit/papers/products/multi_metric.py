"""One table of many metrics: no single one says which method is best. And where do they agree?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from relsplit.bench.runs.statistics import standard_deviation, standard_error
from relsplit.errors import InputError
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.paired_differences import differences
from relsplit.papers.products.product import Brief, Product, RowLabel
from relsplit.papers.reports.text_table import Cell, TextTable, number, words

GAE_FORWARDS = (45, 20)
"""Of a mosaic: forward passes that all methods share, and attributions."""
_DIGITS = 6
"""Means that agree to so many digits are equal: two methods that are one in exact arithmetic share a rank."""
_ROUNDING = 10.0**-_DIGITS


def multi_metric(
    rows: Sequence[Measured],
    brief: Brief,
    *,
    title: str,
    metrics: Sequence[Mapping[str, str]],
    ranks: bool = True,
    no_published: str | None = None,
    references: Sequence[RowLabel] = (),
) -> Product:
    """Values, differences to the rows of reference, ranks and the rank correlation between metrics.

    Args:
        rows: methods and controls, all evaluated with these metrics.
        brief: what the tables are made for.
        title: of the tables.
        metrics: each with ``column`` (of ``samples.csv``), ``label`` and ``better`` ("high" or "low").
        ranks: whether the tables of ranks and of their correlation are made.
        no_published: why there are no published values; their columns stand empty then.
        references: labels of the rows that all others are compared with, each in a table of its own.

    Raises:
        InputError: a row was not evaluated with a metric, or ``better`` is something else.
    """
    for metric in metrics:
        if metric["better"] not in ("high", "low"):
            raise InputError(f"{title}: better={metric['better']!r} of {metric['column']} must be high or low")
    frame = measure(rows, metrics)
    tables = [_values(frame, metrics, f"{title} — {brief.dataset}", no_published)]
    by_label = {row.label: row for row in rows}
    for reference in references:
        table, columns = differences(rows, by_label[reference], metrics, title)
        tables.append(table)
        frame = frame.join(columns, on="method")
    if ranks:
        tables.append(_ranks(frame, metrics, f"{title} — ranks, {brief.dataset}"))
        known = [metric for metric in metrics if frame.loc[~frame["control"], metric["column"]].notna().all()]
        if (~frame["control"]).sum() > 2 and len(known) > 1:
            tables.append(_agreement(frame, known, f"{title} — rank correlation between metrics, {brief.dataset}"))
    return Product(tables, frame)


def measure(rows: Sequence[Measured], metrics: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return the numbers of the tables, one line per row.

    Its name, whether it is a control, how many samples it has, its cost; and for each metric's column the mean,
    ``_error`` (standard error over samples, or standard deviation over checkpoints) and ``_rank`` among all rows.

    Raises:
        InputError: a row was not evaluated with a metric.
    """
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {
            "method": row.label,
            "control": row.control,
            "num_samples": len(row.samples[0]),
            "forward_equivalents": row.summaries[0]["forward_equivalents"],
        }
        for metric in metrics:
            line[metric["column"]], line[f"{metric['column']}_error"] = _mean(row, metric["column"])
        lines.append(line)
    frame: pd.DataFrame = pd.DataFrame(lines)
    for metric in metrics:
        column = metric["column"]
        frame[f"{column}_rank"] = frame[column].round(_DIGITS).rank(ascending=metric["better"] == "low")
    return frame


def _mean(row: Measured, column: str) -> tuple[float, float]:
    row.check_column(column)
    values = [frame[column].dropna().to_numpy(dtype=float) for frame in row.samples]
    if not all(len(each) for each in values):
        return math.nan, math.nan
    means = np.array([each.mean() for each in values])
    return float(means.mean()), standard_deviation(means) if len(means) > 1 else standard_error(values[0])


def _arrow(metric: Mapping[str, str]) -> str:
    return f"{metric['label']} {'↑' if metric['better'] == 'high' else '↓'}"


def _groups(frame: pd.DataFrame, cells: list[list[Cell]]) -> list[list[list[Cell]]]:
    """Methods, and controls below a rule."""
    found = [[row for row, is_control in zip(cells, frame["control"], strict=True) if is_control is kind]
             for kind in (False, True)]  # fmt: skip
    return [group for group in found if group]


def _values(
    frame: pd.DataFrame, metrics: Sequence[Mapping[str, str]], title: str, no_published: str | None
) -> TextTable:
    methods, controls = frame[~frame["control"]], frame[frame["control"]]
    cells: list[list[Cell]] = []
    for line in frame.to_dict("records"):
        row = [words(str(line["method"]))]
        for metric in metrics:
            column, sign = metric["column"], 1 if metric["better"] == "high" else -1
            best = (sign * methods[column]).max()
            beaten = not line["control"] and bool((sign * controls[column] > sign * line[column] + _ROUNDING).any())
            bold = not line["control"] and bool(abs(sign * line[column] - best) < _ROUNDING)
            cell = number(line[column], line[f"{column}_error"], bold=bold)
            row.append(Cell(f"{cell.text}{' †' if beaten else ''}", cell.error, cell.bold))
            row += [Cell("–")] if no_published else []
        row.append(number(line["forward_equivalents"]))
        cells.append(row)
    heads = [name for metric in metrics for name in (_arrow(metric), *(["paper"] if no_published else []))]
    notes = [
        f"{int(frame['num_samples'].max())} samples; mean ± standard error over samples (for GAE and its parts over "
        "mosaics of four). Bold: best method. † a control's mean is better. Last column: forward passes of one map."
    ]
    if any("gae" in metric["column"] for metric in metrics):
        shared, maps = GAE_FORWARDS
        notes.append(
            f"GAE costs {shared} forward passes a mosaic, which all methods share, and {maps} maps of the method's own."
        )
    return TextTable(
        title,
        ["Method", *heads, "forwards"],
        _groups(frame, cells),
        [*notes, *([no_published] if no_published else [])],
    )


def _ranks(frame: pd.DataFrame, metrics: Sequence[Mapping[str, str]], title: str) -> TextTable:
    columns = [f"{metric['column']}_rank" for metric in metrics]
    means = frame[columns].mean(axis=1)
    cells = [
        [words(str(line["method"])), *(_rank(line[column]) for column in columns), Cell(f"{mean:.1f}")]
        for line, mean in zip(frame.to_dict("records"), means, strict=True)
    ]
    notes = ["Rank among methods and controls together, 1 is best, equal values share a rank; last their mean."]
    return TextTable(
        title, ["Method", *(metric["label"] for metric in metrics), "mean rank"], _groups(frame, cells), notes
    )


def _rank(value: float) -> Cell:
    if math.isnan(value):
        return Cell("–")
    return Cell(f"{value:g}", bold=value == 1)


def _agreement(frame: pd.DataFrame, metrics: Sequence[Mapping[str, str]], title: str) -> TextTable:
    methods = frame[~frame["control"]]
    ranked = pd.DataFrame(
        {
            metric["label"]: methods[metric["column"]].round(_DIGITS).rank(ascending=metric["better"] == "low")
            for metric in metrics
        }
    )
    correlation = ranked.corr()  # Pearson's of ranks is Spearman's
    labels = list(ranked.columns)
    cells = [
        [words(first), *(number(float(correlation.loc[first, second]), signed=True) for second in labels)]
        for first in labels
    ]
    pairs = [
        (float(correlation.loc[a, b]), a, b)
        for i, a in enumerate(labels)
        for b in labels[i + 1 :]
        if not math.isnan(float(correlation.loc[a, b]))
    ]
    notes = [f"Spearman's rho of the {len(methods)} methods' ranks (without controls); 1: the same order."]
    if pairs:
        (high, a, b), (low, c, d) = max(pairs), min(pairs)
        notes.append(f"Most alike: {a} and {b} ({high:+.2f}); least: {c} and {d} ({low:+.2f}).")
    return TextTable(title, ["", *labels], [cells], notes)
