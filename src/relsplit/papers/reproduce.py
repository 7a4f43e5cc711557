"""Task ``reproduce``: an experiment's rows -> run folders -> one table or figure.

An experiment (``conf/experiment/PAPER/NAME.yaml``) lists rows, each a label and the overrides that make it. A row's
configuration is the experiment's own with those overrides and an ordinary measuring task in place of this one, so a row
is exactly the run that ``relsplit experiment=PAPER/NAME task=evaluate <overrides>`` would be. Evaluations lie in
folders named by a hash of their configuration: a row that another table has measured is found done, and an interrupted
experiment goes on where it stopped. Several processes may measure them at once (``reproduce.processes``). A multirun
sweep would give the same folders, but could not write the table after its last job.

All rows of an experiment (of all experiments, where it names others) are composed and checked before the first one is
measured: a misspelt option does not show after an hour.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Literal

from relsplit.bench.configuration.composition import files_read_once
from relsplit.bench.configuration.settings import Reproduce, Settings
from relsplit.bench.data.configured import datasets_read_once
from relsplit.bench.machine.processes import first_process
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.dashboard import Dashboard, opened
from relsplit.bench.runs.folder import holding
from relsplit.bench.runs.maps import Maps
from relsplit.bench.runs.store import SAMPLES
from relsplit.bench.runs.summary import EVALUATION, read_summary
from relsplit.errors import IncompleteRun
from relsplit.papers.plan import Composed, Plan, experiment_name, experiment_of, paper_of, plan_experiment, plan_typed
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, ProductMaker, write_product
from relsplit.papers.products.product_dashboard import product_dashboard, show_product, show_report
from relsplit.papers.reports.html import write_report
from relsplit.papers.reports.text_table import print_table
from relsplit.papers.row_processes import Measure, measure_at_once


def run(settings: Settings) -> None:
    """Carry out an experiment, or the experiments that it names and then the report of everything that was reproduced.

    Raises:
        InputError: a row cannot be composed or measured, or the rows do not fit together.
        IncompleteRun: unreadable images were skipped; what they belong to is made of the others.
    """
    settings.task_as(Reproduce)
    with datasets_read_once():
        carry_out_all(settings, experiment_name())


def carry_out_all(settings: Settings, name: str) -> None:
    """Carry out the experiment ``name``, or those that it names; see :func:`run`."""
    experiment = experiment_of(settings, name)
    if not experiment.experiments:
        with files_read_once():
            alone = plan_typed(name)
        with opened(dashboard_of(alone)) as dashboard:
            measure_ahead([alone], experiment.processes)
            carry_out(alone, {}, dashboard)
        return
    home = name.rpartition("/")[0]
    paths = [f"{home}/{each}" if home else str(each) for each in experiment.experiments]
    known: Composed = {}
    with files_read_once():
        plans = [plan_experiment(path, settings.output_dir, known) for path in paths]
    incomplete = []
    measured: dict[str, Path] = {}
    with opened(dashboard_of(plans[0])) as dashboard:
        for position, each in enumerate(plans):
            if position == 0 or trains(plans[position - 1]):
                measure_ahead(list(takewhile(lambda one: not trains(one), plans[position:])), experiment.processes)
            try:
                carry_out(each, measured, dashboard)
            except IncompleteRun as error:  # its product is written; the others and the report shall be, too
                incomplete.append(str(error))
        paper = paper_of(settings, name)
        root = products_folder(plans[0])
        page = root / "report.html"
        write_report(root, page, f"{paper.title if paper else name}, {settings.dataset.name}")
        show_report(dashboard, page)
    say(f"{page}", title="Report")
    if incomplete:
        raise IncompleteRun("; ".join(incomplete))


def trains(plan: Plan) -> bool:
    """Say whether an experiment trains networks, which later ones may explain."""
    return plan.experiment.row_task == "train"


def measure_ahead(plans: Sequence[Plan], processes: int | Literal["auto"]) -> None:
    """Evaluate the rows of experiments in several processes at once where that is worth it.

    Raises:
        InputError: the data, a network that is to be trained first or a row cannot be used; or a product's folder
            cannot be written, or another process works in it.
    """
    evaluating = [each for each in plans if each.experiment.row_task == "evaluate"]
    if not evaluating or not first_process():
        return
    with ExitStack() as held:
        for folder in dict.fromkeys(Path(products_folder(each), each.name) for each in evaluating):
            held.enter_context(holding(folder))
        runs = [run for each in evaluating for row in each.rows for run in row.runs]
        distinct = list({id(run): run for run in runs}.values())  # tables share rows
        measure_at_once(measure_of("evaluate"), distinct, processes, products_folder(plans[0]))


def dashboard_of(plan: Plan) -> Dashboard:
    """Return the dashboard of the products of a paper on a dataset."""
    return product_dashboard(products_folder(plan), plan.settings, plan.paper.name if plan.paper else None)


def carry_out(plan: Plan, measured: dict[str, Path], dashboard: Dashboard) -> Path:
    """Measure the rows that are not measured yet and write the product.

    Args:
        plan: of the experiment.
        measured: folders of what this process has measured already, by configuration; what is measured now is added.
        dashboard: that the product is shown on, too.

    Returns:
        Folder of the product, with the table as CSV, Markdown and LaTeX, the figures as PDF and PNG, and
        ``product.json``.

    Raises:
        InputError: the folder cannot be written, or another process works in it.
        IncompleteRun: unreadable images were skipped; the product is made of the others.
    """
    folder = Path(products_folder(plan), plan.name)
    with holding(folder) if first_process() else nullcontext():  # a place that cannot be written shows before the work
        rows = measured_rows(plan, measured)
        make_product(plan, rows, folder, dashboard)
    skipped = {sample["sample_id"] for row in rows for path in row.folders for sample in _skipped(path)}
    if skipped:
        raise IncompleteRun(f"{folder} lacks {len(skipped)} samples whose images cannot be read ({sorted(skipped)[0]})")
    return folder


def measure_of(row_task: Literal["evaluate", "explain", "conservation", "train"]) -> Measure:
    """Return what is done for a row; each imports what it needs, and a table needs one of them."""
    if row_task == "evaluate":
        from relsplit.bench.evaluate.task import measure

        return measure
    if row_task == "explain":
        from relsplit.bench.explain.task import explain

        return explain
    if row_task == "conservation":
        from relsplit.bench.conservation.task import measure as measure_conservation

        return measure_conservation
    from relsplit.bench.train.task import train

    return train


def measured_rows(plan: Plan, measured: dict[str, Path]) -> list[Measured]:
    """Measure the rows of an experiment that are not measured yet; see :func:`carry_out`."""
    measure, rows = measure_of(plan.experiment.row_task), []
    for position, row in enumerate(plan.rows, start=1):
        keys = [json.dumps(run.document(), default=asdict) for run in row.runs]
        if not measured.keys() >= set(keys):
            say(row.label, title=f"{plan.name} {position}/{len(plan.rows)}")
        for key, run in zip(keys, row.runs, strict=True):
            if key not in measured:
                measured[key] = measure(run)
        folders = tuple(measured[key] for key in keys)
        rows.append(Measured(row.label, folders, row.paper_row, row.control, row.command, row.traits))
    return rows


def make_product(plan: Plan, rows: list[Measured], folder: Path, dashboard: Dashboard) -> None:
    """Make the table or figure of measured rows: write it into a folder, show it on the dashboard and the terminal."""
    settings = plan.settings
    make: ProductMaker = plan.product.build("reproduce.product")
    product = make(rows, Brief(folder, settings.dataset.name, plan.paper, explained_again))
    description = {
        "name": plan.name,
        "title": plan.experiment.title,
        "paper": plan.paper.name if plan.paper else None,
        "dataset": settings.dataset.name,
        "model": settings.model.name,
        "command": plan.command,
    }
    write_product(folder, product, description, rows)
    show_product(dashboard, folder, plan.name, product, rows)
    for table in product.tables:
        print_table(table)
    for note in product.notes:
        say(note)
    say(f"{folder}\n", title=plan.experiment.title)


def explained_again(run: Path, sample_ids: Sequence[str]) -> Maps:
    """Explain samples of a finished evaluation once more (:data:`relsplit.papers.products.product.ExplainSamples`)."""
    # Here and not above: most products need no network.
    from relsplit.bench.explain.sample_maps import maps_of_run

    return maps_of_run(run, sample_ids)


def products_folder(plan: Plan) -> Path:
    """Return ``output_dir``, by default ``outputs/reproduce/<paper>/<dataset>``: where a paper's products lie."""
    if plan.settings.output_dir is not None:
        return Path(plan.settings.output_dir)
    return Path("outputs", "reproduce", *([plan.paper.name] if plan.paper else []), plan.settings.dataset.name)


def _skipped(folder: Path) -> list[dict[str, str]]:
    """Samples that an evaluation could not read; none for what is no evaluation."""
    if not (folder / SAMPLES).exists():
        return []
    skipped: list[dict[str, str]] = read_summary(folder, EVALUATION)["skipped"]
    return skipped
