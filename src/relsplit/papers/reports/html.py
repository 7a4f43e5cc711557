"""One HTML page with everything that a folder of results holds; it opens from disk and needs no network."""

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from relsplit.bench.configuration.folders import SUMMARY
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import keeps_maps
from relsplit.bench.runs.records import SCORES, SampleCurves
from relsplit.bench.runs.sampled_curves import POSITIONS, sampled_curves
from relsplit.bench.runs.store import SAMPLES, read_curves, read_samples
from relsplit.bench.runs.summary import EVALUATION, read_summary, score_column
from relsplit.errors import InputError
from relsplit.files import write_text
from relsplit.papers.products.product import PRODUCT, read_product
from relsplit.papers.reports.html_tables import attributes_table, evaluations_table, titled_table
from relsplit.papers.reports.page import Page, embedded, page_part
from relsplit.papers.reports.text_table import TextTable

MOST_EXPLORED, FEWEST_EXPLORED = 600, 8
"""Maps that the explorer beside a page holds, so that it opens at once, but always so many samples."""


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation folder, as the page shows it."""

    folder: Path
    summary: dict[str, Any]


def write_report(root: Path, path: Path, title: str) -> None:
    """Collect what lies under ``root`` and write the page.

    Args:
        root: folder that is searched for products (``product.json``) and evaluations (``summary.json`` beside
            ``samples.csv``); evaluations that a product was made of are shown wherever they lie.
        path: the HTML file.
        title: of the page.

    Raises:
        InputError: there is nothing to report.
    """
    products = [(file.parent, read_product(file.parent)) for file in sorted(root.rglob(PRODUCT))]
    products.sort(key=lambda found: _place(found[1]))
    rows: dict[Path, dict[str, Any]] = {}  # the first row that shows a run names it
    for folder, product in products:
        for row in product["rows"]:
            for relative in row["folders"]:
                rows.setdefault((folder / relative).resolve(), row)
    gone = [run for run in rows if not run.exists()]
    folders = dict.fromkeys([*rows, *(file.parent.resolve() for file in sorted(root.rglob(SUMMARY)))])
    evaluations = [
        Evaluation(folder, read_summary(folder, EVALUATION))
        for folder in folders
        if (folder / SUMMARY).exists() and (folder / SAMPLES).exists()
    ]
    if not evaluations and not products:
        raise InputError(f"{root} holds no finished evaluation: run one first, or name another folder with task.root=")
    labels = [rows.get(each.folder, {}).get("label", each.folder.name) for each in evaluations]
    explorer = _explorer(evaluations, labels, path, title)
    page = Page(page_part("page.html")).substitute(
        title=html.escape(title),
        subtitle=html.escape(_subtitle(evaluations, products, gone)),
        navigation=_navigation([product for _, product in products], explorer),
        products="\n".join(_product(folder, product) for folder, product in products),
        evaluations=evaluations_table([evaluation.summary for evaluation in evaluations], labels),
        provenance=_provenance(evaluations),
        data=embedded([_run_data(each, rows.get(each.folder, {}).get("command")) for each in evaluations]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)


def _subtitle(
    evaluations: Sequence[Evaluation], products: Sequence[tuple[Path, dict[str, Any]]], gone: Sequence[Path]
) -> str:
    datasets = sorted({str(each.summary["dataset"]) for each in evaluations})
    samples = sum(int(each.summary["num_samples"]) for each in evaluations)
    return (
        f"{len(products)} tables and figures, {len(evaluations)} evaluations, {samples} explained samples; "
        f"data: {', '.join(datasets)}. Scores are fractions; ID = Insertion − Deletion."
        + (f" {len(gone)} runs of these tables and figures lie no longer where they were." if gone else "")
    )


def _place(product: dict[str, Any]) -> tuple[str, str, int, str]:
    """By paper and dataset; of these tables first, then figures, then the rest."""
    name = product["name"]
    kind = 0 if name.startswith("table") else 1 if name.startswith("figure") else 2
    return product["paper"] or "", product["dataset"], kind, name


def _anchor(product: dict[str, Any]) -> str:
    return "-".join(str(product[key]) for key in ("paper", "name", "dataset") if product[key])


def _explorer(evaluations: Sequence[Evaluation], labels: Sequence[str], path: Path, title: str) -> str | None:
    """Write ``explorer.html`` beside the page, where evaluations keep maps; return its name, None where none does."""
    kept = [pair for pair in zip(labels, evaluations, strict=True) if keeps_maps(pair[1].folder)]
    if not kept:
        return None
    # Here and not above: a page without maps needs no torch.
    from relsplit.papers.reports.explorer import Explored, write_explorer

    page = path.with_name("explorer.html")
    runs = [Explored(str(label), each.folder) for label, each in kept]
    write_explorer(runs, page, title, max(FEWEST_EXPLORED, MOST_EXPLORED // len(runs)))
    return page.name


def _navigation(products: Sequence[dict[str, Any]], explorer: str | None) -> str:
    several = [key for key in ("paper", "dataset") if len({product[key] for product in products}) > 1]
    links = []
    for product in products:
        which = ", ".join(str(product[key]) for key in several if product[key])
        links.append((_anchor(product), f"{product['title']} ({which})" if which else product["title"]))
    links += [("evaluations", "All evaluations"), ("provenance", "Provenance")]
    shown = [f'<a href="#{html.escape(anchor)}">{html.escape(text)}</a>' for anchor, text in links]
    return " ".join([*shown, f'<a href="{explorer}">Explorer</a>'] if explorer else shown)


def _product(folder: Path, product: dict[str, Any]) -> str:
    heading = f"{product['title']} · {product['dataset']}"
    parts = [
        f'<h2 id="{html.escape(_anchor(product))}">{html.escape(heading)}</h2>',
        f"<pre>{html.escape(product['command'])}</pre>",
        *(titled_table(TextTable.from_dict(table)) for table in product["tables"]),
        *(_picture(folder / f"{name}.png", f"{product['title']}, {name}") for name in product["figures"]),
        *(f'<p class="note">{html.escape(note)}</p>' for note in product["notes"]),
    ]
    commands = "\n".join(f"{row['label']}:  {row['command']}" for row in product["rows"])
    parts.append(f"<details><summary>each row on its own</summary><pre>{html.escape(commands)}</pre></details>")
    return "\n".join(parts)


def _picture(path: Path, text: str) -> str:
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): reproduce {path.parent.name} again") from error
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'


def _run_data(evaluation: Evaluation, command: str | None) -> dict[str, Any]:
    folder, summary = evaluation.folder, evaluation.summary
    protocols = list(summary["protocols"])
    samples, measured = read_samples(folder), read_curves(folder)
    scores = [score_column(score, name, protocols) for name in protocols for score in SCORES]
    columns = ["sample_id", "label", "predicted", "probability", *scores]
    name = f"{summary['explainer']} on {summary['dataset']}, {summary['num_samples']} samples, {folder.name}"
    return {
        "name": name,
        "command": command or summary.get("command") or "called from Python with the configuration below",
        "config": yaml.safe_dump(read_config(folder), sort_keys=False, allow_unicode=True),
        "columns": columns,
        "samples": [
            [None if value != value else value for value in row] for row in samples[columns].round(4).values.tolist()
        ],
        "curves": {
            protocol: {"points": len(POSITIONS), "data": _packed(measured, protocol, list(samples["sample_id"]))}
            for protocol in protocols
        },
    }


def _packed(measured: Sequence[SampleCurves], protocol: str, order: Sequence[str]) -> str:
    """All curves of a run as base64 of bytes (sample, insertion/deletion, position): a thousand samples are 270 kB."""
    curves = np.stack(sampled_curves(measured, protocol, order), axis=1)
    return base64.b64encode(np.round(curves.clip(0, 1) * 255).astype(np.uint8).tobytes()).decode("ascii")


def _provenance(evaluations: Sequence[Evaluation]) -> str:
    """Versions and hardware; evaluations that share them stand together."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for each in evaluations:
        made = {**each.summary["hardware"], **each.summary["versions"]}
        groups.setdefault(json.dumps(made, sort_keys=True), (made, []))[1].append(each.folder.name)
    return "\n".join(
        f"<p class='note'>{len(names)} evaluations: {html.escape(', '.join(names))}</p>{attributes_table(made)}"
        for made, names in groups.values()
    )
