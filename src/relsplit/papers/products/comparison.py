"""The comparison table: measured beside published, protocol by protocol, with the controls below a rule.

A table is computed once as a tidy frame (one line per row and protocol), and what is shown is laid out from that frame.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from relsplit.bench.runs.records import SCORES
from relsplit.bench.runs.statistics import paired_bootstrap
from relsplit.errors import InputError
from relsplit.papers.products.figures_curves import curve_figures
from relsplit.papers.products.measured import Measured, common_protocols, paired
from relsplit.papers.products.product import Brief, Product, RowLabel
from relsplit.papers.products.published import PublishedTable
from relsplit.papers.reports.text_table import Cell, TextTable, interval, number, words

HEADINGS = {"insertion": "Insertion ↑", "deletion": "Deletion ↓", "id_score": "ID ↑"}
ROUNDING = 1e-9
"""Differences of means below this are rounding, not an order."""


def compare(
    rows: Sequence[Measured],
    dataset: str,
    published: PublishedTable | None = None,
    reference: str | None = None,
) -> pd.DataFrame:
    """Return all numbers of a comparison table.

    Args:
        rows: methods and controls, all measured on the same samples.
        dataset: what they were measured on.
        published: the paper's own numbers, None for none.
        reference: label of the row that all others are compared with; None compares with none.

    Returns:
        One line per protocol and row: ``protocol, method, control, num_samples, num_checkpoints, flat_maps`` (how many
        maps are constant, over all checkpoints), ``id_score_error_bound`` (of refined curves, see
        :meth:`relsplit.papers.products.measured.Measured.error_bound`); for each score its mean, ``_error`` (standard
        error over samples, or standard deviation over checkpoints), ``_best``, ``_paper``, ``_paper_std``,
        ``_paper_best`` and ``_difference`` (measured - paper; empty when the paper measured another data set);
        ``versus_reference`` with ``_low`` and ``_high`` (95% paired bootstrap of the ID score); ``beaten_by`` and
        ``clearly_beaten_by``: controls with a higher mean ID score, and those whose 95% interval lies above zero.

    Raises:
        InputError: rows on different samples, no common protocol, or an unknown reference.
    """
    by_label = {row.label: row for row in rows}
    if reference is not None and reference not in by_label:
        raise InputError(f"the table's reference {reference!r} is none of its rows: {list(by_label)}")
    protocols = common_protocols(rows)
    if not protocols:
        raise InputError(f"the rows of the table share no protocol: {[(row.label, row.protocols) for row in rows]}")
    paper_rows = published.rows if published else {}
    best_published = {score: _best([paper.mean[score] for paper in paper_rows.values()], score) for score in SCORES}
    lines: list[dict[str, Any]] = []
    for protocol in protocols:
        block = [_line(row, protocol, rows, by_label.get(reference or "")) for row in rows]
        best = {score: _best([line[score] for line in block if not line["control"]], score) for score in SCORES}
        for line, row in zip(block, rows, strict=True):
            paper = paper_rows.get(row.paper_row or "")
            for score in SCORES:
                line[f"{score}_best"] = not row.control and line[score] == best[score]
                line[f"{score}_paper"] = paper.mean[score] if paper else None
                line[f"{score}_paper_best"] = paper is not None and paper.mean[score] == best_published[score]
                line[f"{score}_paper_std"] = paper.std.get(score) if paper else None
                line[f"{score}_difference"] = (
                    line[score] - paper.mean[score] if paper and _same(published, dataset) else None
                )
        lines += block
    frame: pd.DataFrame = pd.DataFrame(lines)
    return frame


def comparison(
    rows: Sequence[Measured],
    brief: Brief,
    *,
    title: str,
    paper_table: str | None = None,
    reference: RowLabel | None = None,
) -> Product:
    """A comparison table and the mean curves of its rows.

    Args:
        rows: see :func:`compare`.
        brief: what the table is made for.
        title: of the table.
        paper_table: the paper's name of the table, None where it has none.
        reference: see :func:`compare`.
    """
    published = brief.paper.table(paper_table, brief.dataset) if brief.paper and paper_table else None
    frame = compare(rows, brief.dataset, published, reference)
    return Product(lay_out(frame, title, brief.dataset, published), frame, curve_figures(rows))


def lay_out(frame: pd.DataFrame, title: str, dataset: str, published: PublishedTable | None = None) -> list[TextTable]:
    """Return the tables of a comparison: one per protocol, then the paired differences to the reference."""
    tables = [
        _protocol_table(block, f"{title} — {dataset}, protocol {protocol}", dataset, published)
        for protocol, block in frame.groupby("protocol", sort=False)
    ]
    if frame["versus_reference"].notna().any():
        tables.append(_difference_table(frame, title))
    return tables


def _same(published: PublishedTable | None, dataset: str) -> bool:
    """Whether the paper measured the same data set."""
    return published is not None and published.dataset == dataset


def _line(row: Measured, protocol: str, rows: Sequence[Measured], reference: Measured | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "protocol": protocol,
        "method": row.label,
        "control": row.control,
        "num_samples": len(row.samples[0]),
        "num_checkpoints": len(row.folders),
        "flat_maps": row.flat_maps,
        "id_score_error_bound": row.error_bound("id_score", protocol),
    }
    for score in SCORES:
        line[score] = row.mean(score, protocol)
        line[f"{score}_error"] = row.error(score, protocol)
    versus = paired_bootstrap(*paired(row, reference, "id_score", protocol)) if reference else None
    compared = versus if row is not reference else None
    line["reference"] = reference.label if reference else None
    line["versus_reference"] = compared.difference if compared else None
    line["versus_reference_low"] = compared.low if compared else None
    line["versus_reference_high"] = compared.high if compared else None
    beating, clearly = [], []
    for control in (other for other in rows if other.control and not row.control):
        lead = paired_bootstrap(*paired(control, row, "id_score", protocol))
        beating += [control.label] if lead.difference > ROUNDING else []
        clearly += [control.label] if lead.low > ROUNDING else []
    line["beaten_by"], line["clearly_beaten_by"] = ", ".join(beating), ", ".join(clearly)
    return line


def _best(values: Sequence[float], score: str) -> float | None:
    best = min if score == "deletion" else max
    return best(values, default=None)


def _protocol_table(block: pd.DataFrame, title: str, dataset: str, published: PublishedTable | None) -> TextTable:
    beside = _paper_columns(dataset, published)
    header = ["Method", *(name for score in SCORES for name in (HEADINGS[score], *beside))]
    controls = block["control"].astype(bool)
    groups = [
        [_cells(line, beside) for line in part.to_dict("records")]
        for part in (block[~controls], block[controls])
        if len(part)
    ]
    return TextTable(title, header, groups, _notes(block, dataset, published))


def _paper_columns(dataset: str, published: PublishedTable | None) -> tuple[str, ...]:
    """What stands beside a measured value; a difference only where the paper measured the same data set."""
    if published is None:
        return ()
    return ("paper", "Δ") if _same(published, dataset) else ("paper",)


def _cells(line: dict[Any, Any], beside: Sequence[str]) -> list[Cell]:
    mark = " ‡" if line["clearly_beaten_by"] else " †" if line["beaten_by"] else ""
    mark += " §" if line["flat_maps"] else ""
    cells = [words(f"{line['method']}{mark}")]
    for score in SCORES:
        cells.append(number(line[score], line[f"{score}_error"], bold=line[f"{score}_best"]))
        if "paper" in beside:
            paper, std, best = (line[f"{score}_{name}"] for name in ("paper", "paper_std", "paper_best"))
            cells.append(number(paper, std, bold=best))
        if "Δ" in beside:
            cells.append(number(line[f"{score}_difference"], signed=True))
    return cells


def _notes(block: pd.DataFrame, dataset: str, published: PublishedTable | None) -> list[str]:
    checkpoints, samples = int(block["num_checkpoints"].max()), int(block["num_samples"].max())
    spread = (
        f"mean ± standard deviation over {checkpoints} checkpoints"
        if checkpoints > 1
        else "mean ± standard error over samples"
    )
    notes = [f"{samples} samples; {spread}. Bold: best method."]
    if published:
        if not _same(published, dataset):
            notes.append(
                f"The paper's values are those for {published.dataset}, another data set and network: for orientation, "
                "no difference is taken."
            )
        elif (protocol := block["protocol"].iloc[0]) != published.protocol:
            notes.append(f"The paper measured under the {published.protocol} protocol, not under {protocol}.")
    for column, mark, wording in (
        (
            "clearly_beaten_by",
            "‡",
            "a control has the higher ID score, and the 95% interval of the difference excludes 0",
        ),
        ("beaten_by", "†", "a control has the higher ID score, but the 95% interval of the difference includes 0"),
    ):
        flagged = block[(block[column] != "") & ((mark == "‡") | (block["clearly_beaten_by"] == ""))]
        if len(flagged):
            by_controls = flagged.groupby(column, sort=False)["method"].agg(", ".join)
            found = "; ".join(f"{controls} above {methods}" for controls, methods in by_controls.items())
            notes.append(f"{mark} {wording}: {found}.")
    if len(flat := block[block["flat_maps"] > 0]):
        counts = ", ".join(f"{line['method']} {line['flat_maps']}" for line in flat.to_dict("records"))
        notes.append(f"§ some maps are constant, so that their scores mean nothing: {counts}.")
    if len(refined := block[block["id_score_error_bound"].notna()]):
        bounds = ", ".join(
            f"{line['method']} {line['id_score_error_bound']:.4f}" for line in refined.to_dict("records")
        )
        notes.append(f"Refined curves; with 95% confidence the ID score of all points is within: {bounds}.")
    return notes


def _difference_table(frame: pd.DataFrame, title: str) -> TextTable:
    protocols = list(dict.fromkeys(frame["protocol"]))
    reference = frame["reference"].iloc[0]
    groups: dict[bool, list[list[Cell]]] = {False: [], True: []}
    for method, lines in frame.groupby("method", sort=False):
        if method == reference:
            continue
        cells = [
            interval(*bounds)
            for bounds in zip(
                lines["versus_reference"], lines["versus_reference_low"], lines["versus_reference_high"], strict=True
            )
        ]
        groups[bool(lines["control"].iloc[0])].append([words(str(method)), *cells])
    return TextTable(
        f"{title} — ID score minus that of {reference}",
        ["Method", *protocols],
        [group for group in groups.values() if group],
        ["In brackets: 95% paired bootstrap interval over the samples. Bold: it excludes 0."],
    )
