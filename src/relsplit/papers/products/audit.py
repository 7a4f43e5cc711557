"""From the published setting to the strict one, one switch at a time: what each switch is worth to each method."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from relsplit.bench.runs.records import SCORES
from relsplit.bench.runs.statistics import paired_bootstrap
from relsplit.errors import InputError
from relsplit.papers.products.comparison import HEADINGS
from relsplit.papers.products.measured import Measured, paired
from relsplit.papers.products.product import Brief, Product
from relsplit.papers.reports.text_table import Cell, TextTable, number, words

EVERY_METHOD = "*"


def walk(methods: Sequence[Mapping[str, Any]], switches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the walk: every method after every switch.

    Args:
        methods: each with ``label``, ``overrides`` (its published setting) and maybe ``control``.
        switches: in order, each with ``label`` and either ``overrides`` ({method: overrides that turn this switch}, all
            earlier ones stay; "*" for every method that does not have them yet) or ``protocol`` (the protocol that
            scores are read under from here on).

    Returns:
        One entry per method and switch, the published setting first; ``traits`` say which and whether it changed
        anything for that method.

    Raises:
        InputError: a switch names a method that is not there.
    """
    labels = [method["label"] for method in methods]
    for switch in switches:
        unknown = [name for name in switch.get("overrides", {}) if name not in (*labels, EVERY_METHOD)]
        if unknown:
            raise InputError(f"switch {switch['label']!r} names {unknown}, which are none of the methods {labels}")
    rows = []
    for method in methods:
        overrides, protocol = list(method["overrides"]), None
        control = bool(method.get("control", False))
        start = {"method": method["label"], "switch": "published setting", "changed": True, "protocol": None}
        rows.append({"label": method["label"], "overrides": list(overrides), "control": control, **start})
        for switch in switches:
            wanted = switch.get("overrides", {})
            turned = [
                text
                for text in (*wanted.get(EVERY_METHOD, []), *wanted.get(method["label"], []))
                if text not in overrides
            ]
            overrides += turned
            protocol = switch.get("protocol", protocol)
            rows.append(
                {
                    "label": f"{method['label']}, {switch['label']}",
                    "overrides": list(overrides),
                    "control": control,
                    "method": method["label"],
                    "switch": switch["label"],
                    "changed": bool(turned) or "protocol" in switch,
                    "protocol": protocol,
                }
            )
    return rows


def audit(rows: Sequence[Measured], brief: Brief) -> Product:
    """The walk as one table per score and one of all numbers.

    Args:
        rows: of :func:`walk`, measured.
        brief: what the tables are made for.
    """
    frame = effects(rows)
    return Product([_table(frame, score, brief.dataset) for score in SCORES[::-1]], frame)


def effects(rows: Sequence[Measured]) -> pd.DataFrame:
    """Return what each switch does to each method, one line per method and switch.

    The scores after it, their change by it, and the change's 95% paired bootstrap interval; ``changed`` is False where
    the switch does not concern the method.
    """
    lines: list[dict[str, Any]] = []
    before: Measured | None = None
    for row in rows:
        protocol = row.traits["protocol"] or row.protocols[0]
        first = before is None or before.traits["method"] != row.traits["method"]
        line: dict[str, Any] = {
            "method": row.traits["method"],
            "control": row.control,
            "switch": row.traits["switch"],
            "changed": bool(row.traits["changed"]) and not first,
            "protocol": protocol,
        }
        for score in SCORES:
            line[score] = row.mean(score, protocol)
            if before is None or first or not row.traits["changed"]:
                continue
            before_protocol = before.traits["protocol"] or before.protocols[0]
            interval = paired_bootstrap(*paired(row, before, score, protocol, before_protocol))
            line[f"{score}_change"] = interval.difference
            line[f"{score}_change_low"], line[f"{score}_change_high"] = interval.low, interval.high
        lines.append(line)
        before = row
    frame: pd.DataFrame = pd.DataFrame(lines)
    return frame


def _table(frame: pd.DataFrame, score: str, dataset: str) -> TextTable:
    switches = list(dict.fromkeys(frame["switch"]))
    groups: dict[bool, list[list[Cell]]] = {False: [], True: []}
    for method, lines in frame.groupby("method", sort=False):
        cells = [words(str(method)), number(lines[score].iloc[0])]
        for index in range(1, len(switches)):
            line = lines.iloc[index]
            clear = line[f"{score}_change_low"] > 0 or line[f"{score}_change_high"] < 0
            cells.append(
                number(line[f"{score}_change"], bold=bool(clear), signed=True) if line["changed"] else Cell("·")
            )
        cells.append(number(lines[score].iloc[-1]))
        groups[bool(lines["control"].iloc[0])].append(cells)
    return TextTable(
        f"Audit — {HEADINGS[score]} from the published setting to the strict one, {dataset}",
        ["Method", *switches, "strict setting"],
        [group for group in groups.values() if group],
        [
            "Each column turns one switch and keeps the earlier ones: change by it, · where it does not concern the "
            "method. Bold: the 95% paired bootstrap interval of the change excludes 0.",
            "The explained class (explainer.target) and Score-CAM's weights (explainer.variant) stay as published.",
        ],
    )
