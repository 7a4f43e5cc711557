"""By how much methods differ from one of them on the same samples, metric by metric, with intervals."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from relsplit.bench.runs.statistics import paired_bootstrap
from relsplit.papers.products.measured import Measured, paired_values
from relsplit.papers.reports.text_table import Cell, TextTable, interval, words


def differences(
    rows: Sequence[Measured], reference: Measured, metrics: Sequence[Mapping[str, str]], title: str
) -> tuple[TextTable, pd.DataFrame]:
    """Compare every row with one of them.

    Args:
        rows: methods and controls.
        reference: one of them.
        metrics: see :func:`relsplit.papers.products.multi_metric.multi_metric`.
        title: of the table.

    Returns:
        The table; and the numbers by label, for each metric's column ``COLUMN_minus_REFERENCE`` with ``_low`` and
        ``_high``, NaN for the reference itself and where the two rows share no sample with a value.

    Raises:
        InputError: rows on different samples.
    """
    columns: dict[str, dict[str, float]] = {}
    groups: dict[bool, list[list[Cell]]] = {False: [], True: []}
    for row in rows:
        if row is reference:
            continue
        cells: list[Cell] = [words(row.label)]
        numbers: dict[str, float] = {}
        for metric in metrics:
            column = metric["column"]
            found = _difference(row, reference, column)
            name = f"{column}_minus_{reference.label}"
            numbers |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
            cells.append(Cell("–") if math.isnan(found[0]) else interval(*found))
        columns[row.label] = numbers
        groups[row.control].append(cells)
    table = TextTable(
        f"{title} — minus {reference.label}",
        ["Method", *(f"{metric['label']} {'↑' if metric['better'] == 'high' else '↓'}" for metric in metrics)],
        [group for group in groups.values() if group],
        ["In brackets: 95% paired bootstrap interval over the samples. Bold: it excludes 0. ↓: below 0 is better."],
    )
    return table, pd.DataFrame.from_dict(columns, orient="index")


def _difference(row: Measured, reference: Measured, column: str) -> tuple[float, float, float]:
    own, other = paired_values(row, reference, column)
    if not len(own):
        return math.nan, math.nan, math.nan
    found = paired_bootstrap(own, other)
    return found.difference, found.low, found.high
