"""An experiment's rows, composed and checked before the first one is measured."""

import json
import re
import shlex
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from relsplit.bench.configuration.code import check_code
from relsplit.bench.configuration.composition import composed, resolved
from relsplit.bench.configuration.identity import command_without_secrets
from relsplit.bench.configuration.parts import Named, imported
from relsplit.bench.configuration.settings import Experiment, Settings
from relsplit.bench.configuration.typed import check_together, typed_texts
from relsplit.bench.evaluate.resumption import was_measured
from relsplit.bench.runs.folder import FAST_LOADER
from relsplit.errors import InputError
from relsplit.papers.products.product import OfRow
from relsplit.papers.products.product_dashboard import dashboard_group
from relsplit.papers.products.published import Paper

_OWN = ("output_dir", "reproduce", "experiment", "hydra")
"""Keys of what the user typed that concern the product and not its rows."""


@dataclass(frozen=True)
class PlannedRow:
    """A row before it is measured: what it is called, and its settings on each checkpoint."""

    label: str
    paper_row: str | None
    control: bool
    traits: dict[str, Any]
    command: str
    runs: tuple[Settings, ...]


@dataclass(frozen=True)
class Plan:
    """An experiment whose rows are composed and checked.

    Attributes:
        settings: of the experiment.
        experiment: what is laid out: ``settings.reproduce``.
        name: of the product.
        product: makes it of the rows.
        paper: that it belongs to, None for none.
        command: that reproduces it.
        rows: in order.
    """

    settings: Settings
    experiment: Experiment
    name: str
    product: Named
    paper: Paper | None
    command: str
    rows: tuple[PlannedRow, ...]


def experiment_name() -> str:
    """Return the experiment that the command line names, ``PAPER/NAME`` or ``NAME``.

    Raises:
        InputError: it names none.
    """
    name = HydraConfig.get().runtime.choices.get("experiment")
    if name in (None, "null"):
        raise InputError("task=reproduce needs an experiment: say experiment=NAME, a file of conf/experiment")
    return str(name)


def plan_typed(name: str) -> Plan:
    """Plan the experiment that the command line names.

    Args:
        name: of its file in ``conf/experiment/``.
    """
    return plan(composed(typed_texts()), name, typed_overrides())


def experiment_of(settings: Settings, name: str) -> Experiment:
    """Return what an experiment lays out.

    Raises:
        InputError: it lays nothing out.
    """
    if settings.reproduce is None:
        raise InputError(f"experiment={name} has no rows: give it reproduce.rows, or reproduce.experiments=[NAME,...]")
    return settings.reproduce


Composed = dict[tuple[Any, ...], tuple[Settings, ...]]
"""Rows that are composed and checked, by all that they follow from."""


def plan_experiment(name: str, output_dir: str | None, known: Composed) -> Plan:
    """Plan another experiment than the command line names, with everything else that was typed.

    Args:
        name: of its file in ``conf/experiment/``.
        output_dir: where its product goes.
        known: rows of other experiments, which need not be composed again; those of this one are added.
    """
    typed = typed_overrides()
    config = composed([f"experiment={name}", *typed])
    config.output_dir = output_dir
    return plan(config, name, typed, known)


def plan(config: DictConfig, name: str, typed: Sequence[str], known: Composed | None = None) -> Plan:
    """Compose and check every row of an experiment.

    Args:
        config: of the experiment, as it was composed.
        name: of its file in ``conf/experiment/``.
        typed: what the user overrides in every row.
        known: see :func:`plan_experiment`.

    Raises:
        InputError: a row cannot be composed.
    """
    settings, known = Settings.composed(config), {} if known is None else known
    experiment, paper = experiment_of(settings, name), paper_of(settings, name)
    if experiment.rows is None:
        raise InputError(f"experiment={name} has no rows: give it reproduce.rows, or reproduce.experiments=[NAME,...]")
    if experiment.name is None or experiment.product is None:
        lacking = "name" if experiment.name is None else "product"
        raise InputError(f"experiment={name} has no reproduce.{lacking}: say what is made of its rows")
    seeds = checkpoint_seeds(config, settings, paper, typed)
    command = _command([f"experiment={name}", *typed_overrides(("experiment",))])
    if experiment.row_task != "evaluate":  # what is typed for task.* concerns evaluations
        typed = [text for text in typed if not text.startswith("task.")]
        seeds = [settings.seed]
    group = dashboard_group(paper.name if paper else None, settings.dataset.name)
    experiment.product.check("reproduce.product")
    rest = _beside_reproduce(name)
    rows = []
    for entry in listed_rows(experiment):
        overrides = [f"task={experiment.row_task}", *typed, *entry["overrides"]]
        key = (rest, group, *seeds, *overrides)
        if key not in known:  # composing takes a while, and tables share rows
            try:
                known[key] = _runs([f"experiment={name}", *overrides], seeds, group)
            except (HydraException, InputError) as error:
                where = f"row {entry['label']!r} of experiment={name} ({' '.join(entry['overrides'])})"
                raise InputError(f"{where}: {error}") from error
        sweep = ["-m"] if len(seeds) > 1 else []
        each = [f"seed={','.join(map(str, seeds))}"] if seeds != [settings.seed] else []
        rows.append(_row(entry, known[key], _command([f"experiment={name}", *overrides, *each], sweep)))
    check_labels(experiment.product, [row.label for row in rows])
    return Plan(settings, experiment, experiment.name, experiment.product, paper, command, tuple(rows))


def listed_rows(experiment: Experiment) -> list[dict[str, Any]]:
    """Return the rows of an experiment, listed or made, and its controls; each with ``label`` and ``overrides``."""
    rows = experiment.rows
    listed = (
        rows.build("reproduce.rows")
        if isinstance(rows, Named)
        else [row.model_dump(exclude_unset=True) for row in rows or ()]
    )
    controls = [
        {"label": name.replace("_", " "), "overrides": [f"explainer={name}"], "control": True}
        for name in experiment.controls
    ]
    return [*listed, *controls]


def check_labels(product: Named, labels: Sequence[str]) -> None:
    """Check the options of a product that name a row of it.

    Raises:
        InputError: there is no row, or none of that label.
    """
    if not labels:
        raise InputError("reproduce.rows=[] and no reproduce.controls: name at least one row")
    function = imported(product.import_path, "reproduce.product._target_")
    for name, annotation in typing.get_type_hints(function, include_extras=True).items():
        value = product.arguments.get(name)
        # Of ``RowLabel``, of ``RowLabel | None`` and of ``Sequence[RowLabel]``.
        parts = [annotation, *typing.get_args(annotation)]
        if not any(isinstance(mark, OfRow) for part in parts for mark in getattr(part, "__metadata__", ())):
            continue
        named = [] if value is None else [value] if isinstance(value, str) else value
        for label in named:
            if label not in labels:
                raise InputError(f"reproduce.product.{name}: {label!r} is none of the rows {', '.join(labels)}")


def paper_of(settings: Settings, name: str) -> Paper | None:
    """Return the paper that an experiment belongs to, by the folder that it lies in; None where it says none."""
    content = experiment_of(settings, name).paper
    if content is None:
        return None
    home = Path("experiment", name).parent
    folders = [source / home for source in _sources()]
    folder = next((each for each in folders if each.is_dir()), folders[0])
    return Paper(name=home.name, folder=folder, **dict(content))


def _command(typed: Sequence[str], options: Sequence[str] = ()) -> str:
    return shlex.join(["relsplit", *options, *command_without_secrets(typed)])


def _beside_reproduce(name: str) -> str:
    """What an experiment's file says beside ``reproduce``, and where it lies.

    Experiments that agree in it have equal rows for equal overrides: ``reproduce`` is no part of a row.
    """
    path = Path("experiment", f"{name}.yaml")
    file = next((source / path for source in _sources() if (source / path).is_file()), None)
    if file is None:
        return name
    text = file.read_text(encoding="utf-8")
    content = yaml.load(text, Loader=FAST_LOADER)
    header = [line for line in text.splitlines() if line.startswith("# @package")]
    return json.dumps([str(file.parent), header, {key: content[key] for key in content if key != "reproduce"}])


def _sources() -> list[Path]:
    """Folders of configuration files."""
    return [Path(source.path) for source in HydraConfig.get().runtime.config_sources if source.schema == "file"]


def checkpoint_seeds(config: DictConfig, settings: Settings, paper: Paper | None, typed: Sequence[str]) -> list[int]:
    """Return the training seeds of the checkpoints that a row is the mean of.

    Several where ``reproduce.checkpoint_seeds`` or the paper names them for the data set, unless the user chose a seed,
    or a model whose checkpoint is the same for all of them.

    Args:
        config: of the experiment, as it was composed.
        settings: the same with its interpolations filled in.
        paper: that the experiment belongs to.
        typed: what the user overrides in every row.
    """
    own = settings.reproduce.checkpoint_seeds if settings.reproduce else None
    dataset = settings.dataset.name
    seeds = list({**(paper.checkpoint_seeds if paper else {}), **(own or {})}.get(dataset, [settings.seed]))
    if not seeds:
        raise InputError(f"reproduce.checkpoint_seeds.{dataset}=[]: name at least one seed, or leave it out")
    chosen = any(text.lstrip("+").startswith("seed=") for text in typed)
    if chosen or len(seeds) == 1:
        return [settings.seed] if chosen else seeds
    checkpoints = {resolved(config, seed=seed)["model"]["checkpoint"] for seed in seeds}
    return [settings.seed] if len(checkpoints) < len(seeds) else seeds


def typed_overrides(besides: Sequence[str] = _OWN) -> list[str]:
    """Return what the user typed, but for ``task=`` and the keys ``besides``; by default what holds for every row."""
    texts = [text for text in typed_texts() if not text.startswith("task=")]
    return [text for text in texts if re.split(r"[.=@]", text.lstrip("+~"))[0] not in besides]


def _row(entry: Mapping[str, Any], runs: tuple[Settings, ...], command: str) -> PlannedRow:
    known = {name: entry[name] for name in ("paper_row", "control") if name in entry}
    traits = {name: value for name, value in entry.items() if name not in ("label", "overrides", *known)}
    return PlannedRow(entry["label"], known.get("paper_row"), known.get("control", False), traits, command, runs)


def _runs(overrides: list[str], seeds: Sequence[int], group: str) -> tuple[Settings, ...]:
    """Ordinary settings, as if the row had been started alone, one per seed; they share a dashboard group."""
    config = composed(overrides)
    runs = []
    for seed in seeds:
        document = resolved(config, seed=seed, output_dir=None)
        document.pop("reproduce", None)
        if document["logger"]:
            document["logger"].setdefault("group", group)
        settings = Settings.of(document)
        check_together([settings])
        if not was_measured(settings):  # else it was checked then
            check_code(settings)
        runs.append(settings)
    return tuple(runs)
