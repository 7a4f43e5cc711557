"""What every key of the configuration may be, checked before anything is read, trained or written.

The groups are models of pydantic; a part that names a ``_target_`` is checked against the annotations of what it names
(:mod:`relsplit.options`). A value that cannot be used is one line with its key, and what is allowed.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relsplit.bench.configuration.configuration import resolved
from relsplit.bench.configuration.extras import extra_of, how_to_install
from relsplit.bench.train.training_folder import is_to_be_trained
from relsplit.errors import InputError
from relsplit.options import Count, Length, Limits, Matching, Positive, Seed, check_options, shown, words
from relsplit.spelling import did_you_mean

Name = Annotated[
    str,
    Matching(
        r"(?!\.\.?$)[^/\\\0\n\r]{1,100}",
        "that can name a folder (not empty, not .., no slash, no line feed, at most 100 characters)",
    ),
]
GroupOption = Annotated[str, Matching(r"[\w./-]+", "that names a file of conf/explainer")]
Side = Annotated[int, Limits(minimum=1, maximum=16_384)]
BatchSize = Annotated[int, Limits(minimum=1, maximum=1_000_000)]
Target = dict[str, Any]
"""A mapping with ``_target_`` and arguments."""


class Group(BaseModel):
    """A part of the configuration; other keys than its own are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=False)


class OpenGroup(Group):
    """A part of the configuration whose further keys are arguments of something else."""

    model_config = ConfigDict(extra="allow")


class Evaluate(Group):
    """``task=evaluate``, and what the rows of ``task=reproduce`` take over."""

    scored_class: Literal["label", "predicted"]
    batch_size: BatchSize
    forward_batch_size: BatchSize | None
    precision: Literal["fp32", "bf16", "fp16"]
    curve_tolerance: Annotated[float, Limits(above=0, below=1)] | None
    pictures: Annotated[int, Limits(minimum=0, maximum=10_000)]
    on_change: Literal["refuse", "anew", "accept"]
    explainers: list[GroupOption] | None = None


class Explain(Group):
    """``task=explain``."""

    images: list[str] | str | None
    target: str | Seed | None = None
    batch_size: BatchSize
    pictures: Annotated[int, Limits(minimum=1, maximum=10_000)]


class Conservation(Group):
    """``task=conservation``."""

    batch_size: BatchSize


class Train(Group):
    """``task=train``."""


class Report(Group):
    """``task=report``."""

    root: str
    title: str


class Sampling(Group):
    """Which samples an evaluation uses."""

    style: Literal["first_in_shuffle", "stratified", "development", "confirmation"]
    seed: Seed


class Dataset(Group):
    """``dataset=``."""

    name: Name
    root: str | None
    catalogue: Target
    resize: Side
    image_size: Side
    mean: Annotated[list[float], Length(3)]
    std: Annotated[list[Positive], Length(3)]
    transform: Target
    num_samples: Count
    sampling: Sampling
    manifest: str | None
    on_bad_image: Literal["error", "skip"]
    num_workers: Annotated[int, Limits(minimum=0, maximum=1_024)]
    class_names: list[str] | str | None
    datamodule: Target | None = None


class Model(OpenGroup):
    """``model=``; further keys are arguments of its constructor."""

    name: Name
    target: str = Field(alias="_target_")
    weights: str | None
    checkpoint: str | None
    train_if_missing: bool = False


class Schedule(Group):
    """``trainer.lr_scheduler``: Lightning's keys, beside ``length_argument``."""

    scheduler: Target
    length_argument: str | None = None
    interval: Literal["epoch", "step"] = "epoch"
    frequency: Count = 1
    monitor: str | None = None
    strict: bool = True
    reduce_on_plateau: bool = False
    name: str | None = None


class Trainer(OpenGroup):
    """``trainer=``; further keys are arguments of ``pytorch_lightning.Trainer``."""

    max_epochs: Annotated[int, Limits(minimum=1, maximum=1_000_000)]
    batch_size: BatchSize
    patience: Annotated[int, Limits(minimum=1)] | None
    label_smoothing: Annotated[float, Limits(minimum=0, below=1)]
    optimizer: Target
    lr_scheduler: Schedule | None
    module: Target | None = None
    accelerator: str
    devices: int | str | list[int]
    num_nodes: Count
    strategy: str
    precision: str | int
    deterministic: bool | Literal["warn"]


class Logger(OpenGroup):
    """``logger=``; further keys are arguments of ``wandb.init``."""

    project: str
    mode: Literal["online", "offline", "disabled"]


class Explainer(OpenGroup):
    """``explainer=``; further keys are options of the method."""

    name: Name
    target: Literal["predicted", "label"]


class Row(Group):
    """A row of ``reproduce.rows``."""

    label: str
    overrides: list[str]
    paper_row: str | None = None
    control: bool = False


class Reproduce(OpenGroup):
    """``reproduce``: a table or figure of a paper."""

    name: Name | None = None
    experiments: list[Name]
    row_task: Literal["evaluate", "explain", "conservation", "train"]
    controls: list[str]
    checkpoint_seeds: dict[str, list[Seed]] | None
    processes: Annotated[int, Limits(minimum=1, maximum=1_024)] | Literal["auto"]
    rows: list[Any] | dict[str, Any] | None
    paper: dict[str, Any] | None
    product: Target | None = None


class Settings(Group):
    """The whole configuration."""

    device: Annotated[str, Matching(r"[a-z]+(:\d+)?", "like auto, cpu, cuda or cuda:1")]  # others are made of it
    task: dict[str, Any]
    dataset: Dataset
    model: Model
    trainer: Trainer
    split: str | dict[str, Any]
    map: Target
    explainer: Explainer
    protocol: dict[str, Target]
    metric: dict[str, Target]
    logger: dict[str, Any]
    num_samples: Annotated[int, Limits(minimum=1, maximum=100_000_000)]
    seed: Seed
    output_dir: str | None
    data_dir: str
    reproduce: Reproduce | None = None


REPRODUCE = "relsplit.papers.reproduce.run"
TASKS: dict[str, type[Group]] = {
    "relsplit.bench.evaluate.task.run": Evaluate,
    "relsplit.bench.explain.task.run": Explain,
    "relsplit.bench.conservation.task.run": Conservation,
    "relsplit.bench.train.task.run": Train,
    "relsplit.papers.report.run": Report,
    REPRODUCE: Evaluate,
}
WITHOUT_TRAINER = ("relsplit.bench.explain.task.run", "relsplit.bench.conservation.task.run")
"""Tasks that use Lightning's Trainer only where they train a network first."""
NOT_TRAINER = ("optimizer", "lr_scheduler", "label_smoothing", "batch_size", "patience", "module")
"""Keys of the trainer's configuration that are not arguments of pytorch_lightning.Trainer."""
_NO_ARGUMENTS = ("_target_", "_partial_", "_convert_", "_recursive_")


def check_settings(cfg: DictConfig) -> None:
    """Check the whole configuration.

    Raises:
        InputError: a key does not exist, is missing, or has a value that cannot be used; the first one is named.
    """
    check_groups(cfg)
    check_targets(cfg)


def check_groups(cfg: DictConfig) -> None:
    """Check the names, types and ranges of the settings, without importing what the configuration names.

    Raises:
        InputError: as :func:`check_settings`.
    """
    config = resolved(cfg)
    if OmegaConf.select(cfg, "task._target_") != REPRODUCE:  # a row of an experiment alone: nothing is laid out
        config.pop("reproduce", None)
    _check_finite(config, "")
    _check(Settings, config, "")
    if not config["protocol"]:
        raise InputError("protocol=[]: name at least one protocol of conf/protocol")
    task = dict(config["task"])
    kind = TASKS.get(task.pop("_target_", None))
    if kind is None:
        raise InputError(f"task._target_ must be one of {', '.join(TASKS)}, not {config['task'].get('_target_')!r}")
    _check(kind, task, "task.")
    if (names := task.get("explainers")) is not None:
        check_explainers(names, config["task"]["_target_"])
    if config["logger"]:
        _check(Logger, config["logger"], "logger.")
    if config.get("reproduce") and isinstance(config["reproduce"]["rows"], list):
        check_rows(config["reproduce"]["rows"])


def check_targets(cfg: DictConfig) -> None:
    """Check the arguments of everything that the configuration names and the task uses, which is imported for that.

    Raises:
        InputError: as :func:`check_settings`.
    """
    config = resolved(cfg)
    check_target(config["explainer"], "explainer", without=("name", "target"))
    check_target(config["map"], "map")
    for group in ("protocol", "metric"):
        for name, options in config[group].items():
            check_target(options, f"{group}.{name}")
    dataset = config["dataset"]
    check_target(dataset["catalogue"], "dataset.catalogue")
    check_target(dataset["transform"], "dataset.transform")
    _importable(config["model"]["_target_"], "model._target_")
    if config["task"]["_target_"] not in WITHOUT_TRAINER or is_to_be_trained(cfg):
        _check_training(config)


def check_explainers(names: Sequence[str], task: str) -> None:
    """Check ``task.explainers``.

    Raises:
        InputError: it names none, one twice, or the task's evaluations have their explainers from elsewhere.
    """
    if task == REPRODUCE:
        raise InputError("task.explainers is for task=evaluate: the rows of an experiment say what explains")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not names:
        raise InputError(f"task.explainers names {twice or 'no explainer'}{' twice' if twice else ''}")


def check_rows(rows: Sequence[Any]) -> None:
    """Check the rows of an experiment.

    Raises:
        InputError: one is no mapping, or has another key or value than a row has.
    """
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(f"reproduce.rows[{index}] must be a mapping with label and overrides, not {shown(row)}")
        _check(Row, row, f"reproduce.rows[{index}].")


def check_target(options: Mapping[str, Any], where: str, without: tuple[str, ...] = ()) -> None:
    """Check the arguments of what a part of the configuration names, and of what they name themselves.

    Args:
        options: ``_target_`` and arguments; what is added at the call may be missing.
        where: key of the part.
        without: keys that are no arguments.

    Raises:
        InputError: the target cannot be imported, does not take an argument, or its annotation does not allow it.
    """
    function = _importable(options.get("_target_"), f"{where}._target_")
    arguments = {key: value for key, value in options.items() if key not in (*_NO_ARGUMENTS, *without)}
    for key, value in list(arguments.items()):
        if isinstance(value, Mapping) and "_target_" in value:
            check_target(value, f"{where}.{key}")
            del arguments[key]
    check_options(function, arguments, f"{where}.")


def _check_finite(content: Any, where: str) -> None:
    """No setting of this package or of another is of use as NaN or infinity, though not every other refuses it."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            _check_finite(value, f"{where}.{key}" if where else str(key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            _check_finite(value, f"{where}[{index}]")
    elif isinstance(content, float) and not math.isfinite(content):
        raise InputError(f"{where} must be a finite number, not {content}")


def _check_training(config: Mapping[str, Any]) -> None:
    dataset, trainer = config["dataset"], config["trainer"]
    if dataset.get("datamodule"):
        check_target(dataset["datamodule"], "dataset.datamodule")
        _check_augmentation(dataset["datamodule"].get("augmentation") or {})
    extra = {key: value for key, value in trainer.items() if key not in NOT_TRAINER}
    check_options(_importable("pytorch_lightning.Trainer", "trainer"), extra, "trainer.")
    check_target(trainer["optimizer"], "trainer.optimizer")
    if trainer["lr_scheduler"]:
        check_target(trainer["lr_scheduler"]["scheduler"], "trainer.lr_scheduler.scheduler")
    if trainer.get("module"):
        check_target(trainer["module"], "trainer.module")


def _check_augmentation(options: Mapping[str, Any]) -> None:
    from relsplit.bench.data.transforms import TrainingTransform

    check_options(TrainingTransform, options, "dataset.datamodule.augmentation.")


def _importable(target: object, where: str) -> Callable[..., Any]:
    if not isinstance(target, str):
        raise InputError(f"{where} must be the import path of a class or function, not {target!r}")
    try:
        found = get_object(target)
    except (HydraException, ImportError, ValueError, AttributeError) as error:
        if isinstance(error.__cause__, InputError):
            raise InputError(f"{where}={target}: {error.__cause__}") from error
        missing = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
        extra = extra_of(missing.name) if isinstance(missing, ModuleNotFoundError) else None
        hint = f"; it comes with {how_to_install(extra)}" if extra else ""
        raise InputError(f"{where}={target}: cannot be imported ({' '.join(str(error).split())}){hint}") from error
    if not callable(found):
        raise InputError(f"{where}={target} is a {type(found).__name__}, no class or function")
    return typing.cast(Callable[..., Any], found)


def _check(kind: type[Group], content: Mapping[str, Any], where: str) -> None:
    try:
        kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key, annotation, value = _place(kind, first["loc"], content)
        if first["type"] == "extra_forbidden":
            names = [field.alias or name for name, field in annotation.model_fields.items()]
            hint = did_you_mean(key.rpartition(".")[2], names)
            raise InputError(f"{where}{key} is no setting; there are {', '.join(names) or 'none'}{hint}") from None
        if first["type"] == "missing":
            raise InputError(f"{where}{key} is missing") from None
        raise InputError(f"{where}{key} must be {_words(annotation)}, not {shown(value)}") from None


def _place(kind: Any, location: tuple[int | str, ...], content: Any) -> tuple[str, Any, Any]:
    """Key, annotation and value of what an error is about; pydantic's names for members of unions are left out."""
    key = ""
    for step in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            key += f".{step}" if key else str(step)
            if step not in fields:  # another key than its own
                return key, kind, content.get(step) if isinstance(content, Mapping) else content
            field = fields[str(step)]
            parts = (field.annotation, *field.metadata)
            kind = typing.cast(Any, Annotated)[parts] if field.metadata else field.annotation
            content = content.get(step) if isinstance(content, Mapping) else content
            kind = _model_of(kind, content)
        elif isinstance(content, list) and isinstance(step, int):
            key, content = f"{key}[{step}]", content[step]
            kind = _item_of(kind)
        elif isinstance(content, Mapping) and step in content and typing.get_origin(_bare(kind)) is dict:
            key, content = f"{key}.{step}", content[step]
            kind = typing.get_args(_bare(kind))[1]
    return key, kind, content


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _item_of(kind: Any) -> Any:
    """Of ``list[Item]``, alone or in a union, the item."""
    members = (_bare(kind), *typing.get_args(_bare(kind)))
    lists = [each for each in members if typing.get_origin(each) is list]
    return typing.get_args(lists[0])[0]


def _model_of(kind: Any, content: Any) -> Any:
    """Of ``Model | None`` the model, where there is content for it."""
    if isinstance(content, Mapping) and typing.get_origin(kind) in (typing.Union, types.UnionType):
        models = [each for each in typing.get_args(kind) if inspect.isclass(each) and issubclass(each, BaseModel)]
        return models[0] if models else kind
    return kind


def _words(annotation: Any) -> str:
    is_group = inspect.isclass(annotation) and issubclass(annotation, BaseModel)
    return "a group of settings" if is_group else words(annotation)
