"""An experiment's rows, composed and checked before the first one is measured."""

import copy
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
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from relsplit.bench.configuration.composition import compose_further
from relsplit.bench.configuration.configuration import resolved, typed_texts
from relsplit.bench.configuration.each_explainer import check_together
from relsplit.bench.configuration.settings import check_groups, check_target, check_targets
from relsplit.bench.evaluate.resumption import was_measured
from relsplit.bench.runs.folder import FAST_LOADER
from relsplit.bench.runs.identity import command_without_secrets
from relsplit.errors import InputError
from relsplit.papers.products.product import OfRow
from relsplit.papers.products.product_dashboard import dashboard_group
from relsplit.papers.products.published import Paper

_OWN = ("output_dir", "reproduce", "experiment", "hydra")
"""Keys of what the user typed that concern the product and not its rows."""


@dataclass(frozen=True)
class Row:
    """A row before it is measured: its settings and one configuration per checkpoint."""

    label: str
    paper_row: str | None
    control: bool
    traits: dict[str, Any]
    command: str
    configs: tuple[DictConfig, ...]


@dataclass(frozen=True)
class Plan:
    """An experiment whose rows are composed and checked."""

    config: DictConfig
    paper: Paper | None
    command: str
    rows: tuple[Row, ...]


def experiment_name() -> str:
    """Return the experiment that the command line names, ``PAPER/NAME`` or ``NAME``.

    Raises:
        InputError: it names none.
    """
    name = HydraConfig.get().runtime.choices.get("experiment")
    if name in (None, "null"):
        raise InputError("task=reproduce needs an experiment: say experiment=NAME, a file of conf/experiment")
    return str(name)


Composed = dict[tuple[Any, ...], tuple[DictConfig, ...]]
"""Rows that are composed and checked, by all that they follow from."""


def plan_experiment(name: str, output_dir: str | None, composed: Composed) -> Plan:
    """Plan another experiment than the command line names, with everything else that was typed.

    Args:
        name: of its file in ``conf/experiment/``.
        output_dir: where its product goes.
        composed: rows of other experiments, which need not be composed again; those of this one are added.
    """
    typed = typed_overrides()
    config = compose_further([f"experiment={name}", *typed])
    config.output_dir = output_dir
    return plan(config, name, typed, composed)


def plan(cfg: DictConfig, name: str, typed: Sequence[str], composed: Composed | None = None) -> Plan:
    """Compose and check every row of an experiment.

    Args:
        cfg: the experiment's configuration.
        name: of its file in ``conf/experiment/``.
        typed: what the user overrides in every row.
        composed: see :func:`plan_experiment`.

    Raises:
        InputError: a row cannot be composed.
    """
    reproduce, paper, composed = cfg.reproduce, paper_of(cfg, name), {} if composed is None else composed
    if reproduce.rows is None:
        raise InputError(f"experiment={name} has no rows: give it reproduce.rows, or reproduce.experiments=[NAME,...]")
    if reproduce.get("name") is None or reproduce.get("product") is None:
        lacking = "name" if reproduce.get("name") is None else "product"
        raise InputError(f"experiment={name} has no reproduce.{lacking}: say what is made of its rows")
    listed = instantiate(reproduce.rows, _convert_="all")
    controls = [
        {"label": str(control).replace("_", " "), "overrides": [f"explainer={control}"], "control": True}
        for control in reproduce.controls
    ]
    seeds = checkpoint_seeds(cfg, paper, typed)
    said = command_without_secrets([f"experiment={name}", *typed_overrides(("experiment",))])
    command = shlex.join(["relsplit", *said])
    if reproduce.row_task != "evaluate":  # what is typed for task.* concerns evaluations
        typed = [text for text in typed if not text.startswith("task.")]
        seeds = [cfg.seed]
    group = dashboard_group(paper.name if paper else None, cfg.dataset.name)
    product = resolved(reproduce.product)
    check_target(product, "reproduce.product")
    rest = _beside_reproduce(name)
    rows = []
    for entry in [*listed, *controls]:
        overrides = [f"task={reproduce.row_task}", *typed, *entry["overrides"]]
        key = (rest, group, *seeds, *overrides)
        if key not in composed:  # composing takes a while, and tables share rows
            try:
                composed[key] = _row_configs([f"experiment={name}", *overrides], seeds, group)
            except (HydraException, InputError) as error:
                where = f"row {entry['label']!r} of experiment={name} ({' '.join(entry['overrides'])})"
                raise InputError(f"{where}: {error}") from error
        sweep = ["-m"] if len(seeds) > 1 else []
        each = [f"seed={','.join(map(str, seeds))}"] if seeds != [cfg.seed] else []
        said = command_without_secrets([f"experiment={name}", *overrides, *each])
        alone = shlex.join(["relsplit", *sweep, *said])
        rows.append(_row(entry, composed[key], alone))
    check_labels(product, [row.label for row in rows])
    return Plan(cfg, paper, command, tuple(rows))


def check_labels(product: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Check the options of a product that name a row of it.

    Raises:
        InputError: there is no row, or none of that label.
    """
    if not labels:
        raise InputError("reproduce.rows=[] and no reproduce.controls: name at least one row")
    for name, annotation in typing.get_type_hints(get_object(product["_target_"]), include_extras=True).items():
        value = product.get(name)
        parts = [annotation, *typing.get_args(annotation)]  # of ``RowLabel`` and of ``RowLabel | None``
        names_row = any(isinstance(mark, OfRow) for part in parts for mark in getattr(part, "__metadata__", ()))
        if names_row and value is not None and value not in labels:
            raise InputError(f"reproduce.product.{name}: {value!r} is none of the rows {', '.join(labels)}")


def paper_of(cfg: DictConfig, name: str) -> Paper | None:
    """Return the paper that an experiment belongs to, by the folder that it lies in; None where it says none.

    Raises:
        InputError: ``paper.yaml`` has other keys than a paper has.
    """
    if not cfg.reproduce.paper:
        return None
    settings: dict[str, Any] = OmegaConf.to_container(cfg.reproduce.paper, resolve=True)  # type: ignore[assignment]
    home = Path("experiment", name).parent
    folders = [source / home for source in _sources()]
    folder = next((each for each in folders if each.is_dir()), folders[0])
    try:
        return Paper(name=home.name, folder=folder, **settings)
    except TypeError as error:
        raise InputError(f"{folder / 'paper.yaml'}: reproduce.paper cannot be used ({error})") from error


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


def checkpoint_seeds(cfg: DictConfig, paper: Paper | None, typed: Sequence[str]) -> list[int]:
    """Return the training seeds of the checkpoints that a row is the mean of.

    Several where ``reproduce.checkpoint_seeds`` or the paper names them for the data set, unless the user chose a seed,
    or a model whose checkpoint is the same for all of them.
    """
    named = {**(paper.checkpoint_seeds if paper else {}), **(cfg.reproduce.checkpoint_seeds or {})}
    seeds = list(named.get(cfg.dataset.name, [cfg.seed]))
    if not seeds:
        raise InputError(f"reproduce.checkpoint_seeds.{cfg.dataset.name}=[]: name at least one seed, or leave it out")
    checkpoints = set()
    for seed in seeds:
        trained = copy.deepcopy(cfg)
        trained.seed = seed
        checkpoints.add(trained.model.checkpoint)
    chosen = any(text.lstrip("+").startswith("seed=") for text in typed)
    return [cfg.seed] if chosen or len(checkpoints) < len(seeds) else seeds


def typed_overrides(besides: Sequence[str] = _OWN) -> list[str]:
    """Return what the user typed, but for ``task=`` and the keys ``besides``; by default what holds for every row."""
    texts = [text for text in typed_texts() if not text.startswith("task=")]
    return [text for text in texts if re.split(r"[.=@]", text.lstrip("+~"))[0] not in besides]


def _row(entry: dict[str, Any], configs: tuple[DictConfig, ...], command: str) -> Row:
    known = {name: entry[name] for name in ("paper_row", "control") if name in entry}
    traits = {name: value for name, value in entry.items() if name not in ("label", "overrides", *known)}
    return Row(entry["label"], known.get("paper_row"), known.get("control", False), traits, command, configs)


def _row_configs(overrides: list[str], seeds: Sequence[int], group: str) -> tuple[DictConfig, ...]:
    """Ordinary configurations, as if the row had been started alone, one per seed; they share a dashboard group."""
    composed = compose_further(overrides)
    with open_dict(composed):
        del composed["reproduce"]
        if composed.logger and "group" not in composed.logger:
            composed.logger.group = group
    composed.output_dir = None
    configs = []
    for seed in seeds:
        config = copy.deepcopy(composed)
        config.seed = seed
        OmegaConf.resolve(config)
        check_groups(config)
        check_together([config])
        if not was_measured(config):  # else it was checked then
            check_targets(config)
        configs.append(config)
    return tuple(configs)
