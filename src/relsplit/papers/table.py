"""Task ``table``: one table of finished evaluations, such as the points of a sweep."""

import glob
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relsplit.bench.configuration.folders import SUMMARY
from relsplit.bench.configuration.identity import EXECUTION_KEYS, flatten
from relsplit.bench.configuration.settings import Settings, Table
from relsplit.bench.machine.logs import cannot_be_written
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.records import SCORES
from relsplit.bench.runs.store import SAMPLES
from relsplit.bench.runs.summary import further_metrics, score_column
from relsplit.errors import InputError
from relsplit.papers.products.comparison import HEADINGS
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Product, write_product
from relsplit.papers.reports.text_table import Cell, TextTable, number, print_table, words

FOLDER = Path("outputs", "table")
"""Where the files go, if ``output_dir`` does not say it."""
EVERYWHERE = ("dataset.name", "model.name", "seed", "num_samples")
"""Settings that tell runs of different explainers apart, too."""
OF_AN_EXPLAINER = ("explainer", "map", "protocol", "task")
"""Groups whose settings tell runs of one explainer apart."""


def run(settings: Settings) -> Path:
    """Print the table and write ``table.csv``, ``table.md`` and ``table.tex``.

    Returns:
        Their folder, ``output_dir`` or ``outputs/table``.

    Raises:
        InputError: there is no finished evaluation, one is damaged, or the table cannot be written.
    """
    task = settings.task_as(Table)
    rows = [Measured(each.name, (each,)) for each in finished(task.runs)]
    product = table_of(rows, task.title)
    folder = Path(settings.output_dir or FOLDER)
    command = shlex.join(["relsplit", "task=table", f"task.runs=[{','.join(task.runs)}]"])
    names = sorted({row.summaries[0]["dataset"] for row in rows})
    description = {"name": "table", "title": task.title, "paper": None, "dataset": ", ".join(names), "command": command}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_product(folder, product, description, rows)
    except OSError as error:
        raise cannot_be_written(str(folder), error, "choose another with output_dir=") from error
    print_table(product.tables[0])
    say(f"{folder}/table.csv, table.md, table.tex")
    return folder


def finished(patterns: Sequence[str]) -> list[Path]:
    """Return the folders of finished evaluations, each once, in alphabetical order.

    Args:
        patterns: paths of folders; ``*`` and ``**`` stand for any part of a path.

    Raises:
        InputError: a folder that is named holds none, or there is none at all.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        folders = sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 (Path's takes no absolute one)
        done = [each for each in folders if (each / SUMMARY).exists() and (each / SAMPLES).exists()]
        if not done and not glob.has_magic(pattern):
            raise InputError(f"task.runs: {pattern} holds no finished evaluation ({SUMMARY} and {SAMPLES})")
        found |= dict.fromkeys(done)
    if not found:
        raise InputError(f"task.runs: no finished evaluation in {', '.join(patterns)}: evaluate something first")
    return list(found)


def table_of(rows: Sequence[Measured], title: str) -> Product:
    """Lay out evaluations, one a line, the highest ID score first.

    Columns that say what a run was are those in which runs differ: the explainer's settings among runs of that
    explainer, the dataset's, network's and seed's among all.

    Args:
        rows: finished evaluations.
        title: of the table.

    Raises:
        InputError: a run is damaged.
    """
    configs = [flatten(read_config(row.folders[0])) for row in rows]
    options = differing(rows, configs)
    frame = measure(rows, configs, options)
    values = [name for name in frame.columns if f"{name}_error" in frame.columns]
    same = len({frozenset(row.samples[0].index) for row in rows}) == 1
    best = _best(frame, values) if same else {}
    cells: list[list[Cell]] = []
    for line in frame.to_dict("records"):
        row = [words(line["explainer"]), *(words("–" if pd.isna(line[name]) else str(line[name])) for name in options)]
        row += [number(line[name], line[f"{name}_error"], bold=bool(line[name] == best.get(name))) for name in values]
        cells.append([*row, number(line["seconds_per_sample"])])
    notes = [f"{_count(frame)} samples; mean ± standard error. Seconds: of a map, without its scoring."]
    if not same:
        notes.append("The rows rest on different samples: compare those on the same alone.")
    heads = [_heading(name) for name in values]
    return Product([TextTable(title, ["Method", *options, *heads, "seconds"], [cells], notes)], frame)


def measure(rows: Sequence[Measured], configs: Sequence[Mapping[str, Any]], options: Sequence[str]) -> pd.DataFrame:
    """Return what the runs were and what they measured, a line each, the highest ID score first.

    Columns: ``explainer``; the ``options``; ``num_samples``, ``accuracy``; for each score of each protocol
    (``id_score strict``) and each further metric its mean, and with ``_error`` the standard error;
    ``forward_equivalents``, ``seconds_per_sample``, ``folder``.

    Args:
        rows: finished evaluations.
        configs: their flat configurations.
        options: settings that have a column.
    """
    lines: list[dict[str, Any]] = []
    for row, config in zip(rows, configs, strict=True):
        summary = row.summaries[0]
        line: dict[str, Any] = {"explainer": row.explainer}
        line |= {name: str(config[name]) if name in config else None for name in options}
        line |= {"num_samples": summary["num_samples"], "accuracy": summary["accuracy"]}
        columns = {
            f"{score} {protocol}": score_column(score, protocol, row.protocols)
            for protocol in row.protocols
            for score in SCORES
        }
        for name, column in {**columns, **{each: each for each in further_metrics(summary)}}.items():
            error = summary[f"{column}_stderr"]
            line[name] = math.nan if summary[column] is None else summary[column]
            line[f"{name}_error"] = math.nan if error is None else error
        line |= {name: summary[name] for name in ("forward_equivalents", "seconds_per_sample")}
        lines.append({**line, "folder": str(row.folders[0])})
    frame = pd.DataFrame(lines)
    primary = next(name for name in frame.columns if name.startswith(f"{SCORES[-1]} "))
    ordered: pd.DataFrame = frame.sort_values(primary, ascending=False, kind="stable", ignore_index=True)
    return ordered


def differing(rows: Sequence[Measured], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which runs differ, in the order of the configuration.

    Args:
        rows: finished evaluations.
        configs: their flat configurations.
    """
    found: dict[str, None] = {}
    for name in EVERYWHERE:
        if len({str(config.get(name)) for config in configs}) > 1:
            found[name] = None
    for explainer in dict.fromkeys(row.explainer for row in rows):
        own = [config for row, config in zip(rows, configs, strict=True) if row.explainer == explainer]
        names = dict.fromkeys(name for config in own for name in config)
        for name in names:
            group = name.partition(".")[0]
            # That a protocol was not scored under is seen in its columns.
            asked = [config for config in own if name in config] if group == "protocol" else own
            values = {str(config.get(name)) for config in asked}
            if group in OF_AN_EXPLAINER and name not in EXECUTION_KEYS and len(values) > 1:
                found[name] = None
    return list(found)


def _best(frame: pd.DataFrame, values: Sequence[str]) -> dict[str, float]:
    """The best value of each score; of further metrics it is not known which way is better."""
    best = {}
    for name in values:
        if (score := name.partition(" ")[0]) in SCORES:
            best[name] = frame[name].min() if score == "deletion" else frame[name].max()
    return best


def _heading(name: str) -> str:
    score, _, protocol = name.partition(" ")
    return f"{HEADINGS[score]} {protocol}" if score in HEADINGS else name


def _count(frame: pd.DataFrame) -> str:
    low, high = frame["num_samples"].min(), frame["num_samples"].max()
    return str(low) if low == high else f"{low} to {high}"
