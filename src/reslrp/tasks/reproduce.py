"""Task ``reproduce``: an experiment's rows -> run folders -> one table or figure.

An experiment (``conf/experiment/NAME.yaml``) lists rows, each a label and the overrides that make it. A row's
configuration is the experiment's own with those overrides and an ordinary measuring task in place of this one, so a row
is exactly the run that ``python run.py experiment=NAME task=evaluate <overrides>`` would be. Evaluations lie in
folders named by a hash of their configuration: a row that another table has measured is found done, and an interrupted
experiment goes on where it stopped. A multirun sweep would give the same folders, but could not write the table after
its last job.

All rows of an experiment (for ``experiment=all``, of all experiments) are composed and checked before the first one is
measured: a misspelt option does not show after an hour.
"""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from reslrp.errors import IncompleteRun, InputError
from reslrp.results.grid import print_grid
from reslrp.results.measured import Measured
from reslrp.results.product import write_product
from reslrp.results.report import write_report
from reslrp.results.summary import SUMMARY, read_summary

_OWN = ("output_dir", "reproduce", "experiment", "experiments", "hydra")
"""Keys of what the user typed that concern the product and not its rows."""


@dataclass(frozen=True)
class Row:
    """A row before it is measured: its settings and one configuration per checkpoint."""

    label: str
    published: str | None
    control: bool
    traits: dict[str, Any]
    command: str
    configs: tuple[DictConfig, ...]


@dataclass(frozen=True)
class Plan:
    """An experiment whose rows are composed and checked."""

    config: DictConfig
    command: str
    rows: tuple[Row, ...]


def run(cfg: DictConfig) -> Path:
    """Carry out one experiment.

    Returns:
        Its folder ``outputs/reproduce/<dataset>/<name>/`` (or ``<output_dir>/<name>/``), with the table as CSV,
        Markdown and LaTeX, the figures as PDF and PNG, and ``product.json``.

    Raises:
        InputError: a row cannot be composed or evaluated, or the rows do not fit together.
    """
    return carry_out(plan(cfg, cfg.reproduce.name, typed_overrides()), {})


def run_all(cfg: DictConfig) -> None:
    """Carry out the experiments that ``cfg.experiments`` names, in order, after checking them all; then the report of
    everything that was reproduced on this data set, ``outputs/reproduce/<dataset>/report.html``."""
    if not cfg.experiments:
        raise InputError("experiments=[]: name at least one file of conf/experiment")
    typed = typed_overrides()
    plans = []
    for name in cfg.experiments:
        experiment = _compose([f"experiment={name}", *typed])
        experiment.output_dir = cfg.output_dir
        plans.append(plan(experiment, name, typed))
    incomplete = []
    measured: dict[str, Path] = {}
    for each in plans:
        try:
            carry_out(each, measured)
        except IncompleteRun as error:  # its product is written; the others and the report shall be, too
            incomplete.append(str(error))
    root = product_folder(plans[0].config).parent
    page = root / "report.html"
    write_report(root, page, f"Layer-wise relevance propagation for ResNet, {cfg.dataset.name}")
    Console().print(f"[bold]Report[/bold]: {page}", highlight=False, soft_wrap=True)
    if incomplete:
        raise IncompleteRun("; ".join(incomplete))


def plan(cfg: DictConfig, name: str, typed: Sequence[str]) -> Plan:
    """Compose and check every row of an experiment.

    Args:
        cfg: the experiment's configuration.
        name: of its file in ``conf/experiment/``.
        typed: what the user overrides in every row.
    """
    reproduce = cfg.reproduce
    listed = instantiate(reproduce.rows, _convert_="all")
    controls = [
        {"label": str(control).replace("_", " "), "overrides": [f"explainer={control}"], "control": True}
        for control in reproduce.controls
    ]
    seeds = checkpoint_seeds(cfg, typed)
    command = shlex.join(["python", "run.py", f"experiment={name}", *typed_overrides(("experiment", "experiments"))])
    if reproduce.row_task != "evaluate":  # what is typed for task.* concerns evaluations
        typed = [text for text in typed if not text.startswith("task.")]
        seeds = [cfg.seed]
    rows = []
    composed: dict[tuple[str, ...], tuple[DictConfig, ...]] = {}  # rows of an audit repeat, and composing takes a while
    for entry in [*listed, *controls]:
        overrides = [f"task={reproduce.row_task}", *typed, *entry["overrides"]]
        if tuple(overrides) not in composed:
            try:
                composed[tuple(overrides)] = _row_configs([f"experiment={name}", *overrides], seeds)
            except HydraException as error:
                where = f"row {entry['label']!r} of experiment={name} ({' '.join(entry['overrides'])})"
                raise InputError(f"{where}: {error}") from error
        sweep = ["-m"] if len(seeds) > 1 else []
        each = [f"seed={','.join(map(str, seeds))}"] if seeds != [cfg.seed] else []
        alone = shlex.join(["python", "run.py", *sweep, f"experiment={name}", *overrides, *each])
        rows.append(_row(entry, composed[tuple(overrides)], alone))
    return Plan(cfg, command, tuple(rows))


def carry_out(plan: Plan, measured: dict[str, Path]) -> Path:
    """Measure the rows that are not measured yet and write the product.

    Args:
        plan: of the experiment.
        measured: folders of what this process has measured already, by configuration; what is measured now is added.

    Raises:
        IncompleteRun: unreadable images were skipped; the product is made of the others.
    """
    cfg, console = plan.config, Console()
    dataset = cfg.dataset.name
    folder = product_folder(cfg)
    measure = get_method(cfg.reproduce.measure)
    rows = []
    for position, row in enumerate(plan.rows, start=1):
        keys = [OmegaConf.to_yaml(config) for config in row.configs]
        if not measured.keys() >= set(keys):
            heading = f"[bold]{cfg.reproduce.name} {position}/{len(plan.rows)}[/bold] {row.label}"
            console.print(heading, highlight=False, soft_wrap=True)
        for key, config in zip(keys, row.configs, strict=True):
            if key not in measured:
                measured[key] = measure(config)
        folders = tuple(measured[key] for key in keys)
        rows.append(Measured(row.label, folders, row.published, row.control, row.command, row.traits))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): choose another with output_dir=") from error
    product = instantiate(cfg.reproduce.product)(rows, folder, dataset)
    description = {
        "name": cfg.reproduce.name,
        "title": cfg.reproduce.title,
        "dataset": dataset,
        "model": cfg.model.name,
        "command": plan.command,
    }
    write_product(folder, product, description, rows)
    for grid in product.grids:
        print_grid(grid)
    for note in product.notes:
        console.print(note, soft_wrap=True)
    console.print(f"[bold]{cfg.reproduce.title}[/bold]: {folder}\n", highlight=False, soft_wrap=True)
    skipped = {sample["sample_id"] for row in rows for path in row.folders for sample in skipped_samples(path)}
    if skipped:
        raise IncompleteRun(f"{folder} lacks {len(skipped)} samples whose images cannot be read ({sorted(skipped)[0]})")
    return folder


def product_folder(cfg: DictConfig) -> Path:
    """``<output_dir>/<name>``, by default ``outputs/reproduce/<dataset>/<name>``."""
    return Path(cfg.output_dir or Path("outputs", "reproduce", cfg.dataset.name), cfg.reproduce.name)


def skipped_samples(folder: Path) -> list[dict[str, str]]:
    """Samples that an evaluation could not read; none for what is no evaluation."""
    if not (folder / SUMMARY).exists():
        return []
    skipped: list[dict[str, str]] = read_summary(folder)["skipped"]
    return skipped


def checkpoint_seeds(cfg: DictConfig, typed: Sequence[str]) -> list[int]:
    """Training seeds of the checkpoints that a row is the mean of: several where ``reproduce.checkpoints`` names them
    for the data set, unless the user chose a seed, or a model whose checkpoint is the same for all of them."""
    seeds = list(cfg.reproduce.checkpoints.get(cfg.dataset.name, [cfg.seed]))
    checkpoints = set()
    for seed in seeds:
        trained = copy.deepcopy(cfg)
        trained.seed = seed
        checkpoints.add(trained.model.checkpoint)
    chosen = any(text.lstrip("+").startswith("seed=") for text in typed)
    return [cfg.seed] if chosen or len(checkpoints) < len(seeds) else seeds


def typed_overrides(besides: Sequence[str] = _OWN) -> list[str]:
    """What the user typed, but for ``task=`` and the keys ``besides``; by default what holds for every row."""
    typed = [text for text in HydraConfig.get().overrides.task if not text.startswith("task=")]
    return [text for text in typed if re.split(r"[.=@]", text.lstrip("+~"))[0] not in besides]


def _row(entry: dict[str, Any], configs: tuple[DictConfig, ...], command: str) -> Row:
    known = {name: entry[name] for name in ("published", "control") if name in entry}
    traits = {name: value for name, value in entry.items() if name not in ("label", "overrides", *known)}
    return Row(entry["label"], known.get("published"), known.get("control", False), traits, command, configs)


def _row_configs(overrides: list[str], seeds: Sequence[int]) -> tuple[DictConfig, ...]:
    """Ordinary configurations, as if the row had been started alone, one per seed."""
    composed = _compose(overrides)
    with open_dict(composed):
        del composed["reproduce"]
    composed.output_dir = None
    configs = []
    for seed in seeds:
        config = copy.deepcopy(composed)
        config.seed = seed
        OmegaConf.resolve(config)
        configs.append(config)
    return tuple(configs)


def _compose(overrides: list[str]) -> DictConfig:
    config: DictConfig = compose(HydraConfig.get().job.config_name, overrides)
    return config
