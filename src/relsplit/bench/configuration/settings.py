"""The whole configuration as one value: composed by Hydra, resolved and checked once, and never changed.

The groups are models of pydantic. A value that cannot be used is one line with its key, and what is allowed; what the
configuration names is only imported by :mod:`relsplit.bench.configuration.code`.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig
from pydantic import BeforeValidator, Field, PrivateAttr

from relsplit.bench.configuration.composition import resolved
from relsplit.bench.configuration.environment import in_force
from relsplit.bench.configuration.identity import Identity, identified, named_code
from relsplit.bench.configuration.parts import Group, Named, OpenGroup
from relsplit.bench.configuration.validation import validated
from relsplit.errors import InputError
from relsplit.options import Count, Length, Limits, Matching, Seed, shown

Name = Annotated[
    str,
    Matching(
        r"(?!\.\.?$)[^/\\\0\n\r]{1,100}",
        "that can name a folder (not empty, not .., no slash, no line feed, at most 100 characters)",
    ),
]
ExplainerChoice = Annotated[
    str,
    Matching(
        r"[\w./-]+( +((explainer|map)\.[\w.]+|map|split)=\S*)*",
        "that names a file of conf/explainer, and may give it options: 'ours split=symmetric explainer.rule=epsilon'",
    ),
]
Side = Annotated[int, Limits(minimum=1, maximum=16_384)]
BatchSize = Annotated[int, Limits(minimum=1, maximum=1_000_000)]


class Evaluating(Group):
    """How evaluations are carried out: by ``task=evaluate``, and for the rows of ``task=reproduce``."""

    scored_class: Literal["label", "predicted"]
    batch_size: BatchSize
    forward_batch_size: BatchSize | None
    precision: Literal["fp32", "bf16", "fp16"]
    curve_tolerance: Annotated[float, Limits(above=0, below=1)] | None
    pictures: Annotated[int, Limits(minimum=0, maximum=10_000)]
    maps: Annotated[int, Limits(minimum=0, maximum=10_000)] | None = None
    on_change: Literal["refuse", "anew", "accept"]
    explainers: Sequence[ExplainerChoice] | None = None


class Evaluate(Evaluating):
    """``task=evaluate``."""

    import_path: Literal["relsplit.bench.evaluate.task.run"] = Field(alias="_target_")


class Explain(Group):
    """``task=explain``."""

    import_path: Literal["relsplit.bench.explain.task.run"] = Field(alias="_target_")
    images: Sequence[str] | str | None
    target: str | Seed | None = None
    batch_size: BatchSize
    pictures: Annotated[int, Limits(minimum=1, maximum=10_000)]
    explainers: Sequence[ExplainerChoice] | None = None


class Conservation(Group):
    """``task=conservation``."""

    import_path: Literal["relsplit.bench.conservation.task.run"] = Field(alias="_target_")
    batch_size: BatchSize


class Train(Group):
    """``task=train``."""

    import_path: Literal["relsplit.bench.train.task.run"] = Field(alias="_target_")


class Report(Group):
    """``task=report``."""

    import_path: Literal["relsplit.papers.report.run"] = Field(alias="_target_")
    root: str
    title: str


class Table(Group):
    """``task=table``."""

    import_path: Literal["relsplit.papers.table.run"] = Field(alias="_target_")
    runs: list[str] = Field(min_length=1)
    title: str


class Explorer(Group):
    """``task=explorer``."""

    import_path: Literal["relsplit.papers.explorer.run"] = Field(alias="_target_")
    runs: list[str] = Field(min_length=1)
    samples: Count
    title: str


class Reproduce(Evaluating):
    """``task=reproduce``."""

    import_path: Literal["relsplit.papers.reproduce.run"] = Field(alias="_target_")


Task = Annotated[
    Evaluate | Explain | Conservation | Train | Report | Table | Explorer | Reproduce,
    Field(discriminator="import_path"),
]
TaskKind = TypeVar("TaskKind", bound=Group)


class Sampling(Group):
    """Which samples an evaluation uses."""

    style: Literal["first_in_shuffle", "stratified", "development", "confirmation"]
    seed: Seed


class Dataset(Group):
    """``dataset=``."""

    name: Name
    root: str | None
    catalogue: Named
    resize: Side
    image_size: Side
    mean: Annotated[Sequence[Annotated[float, Limits(minimum=0, maximum=1)]], Length(3)]  # of pixel values in [0, 1]
    std: Annotated[Sequence[Annotated[float, Limits(above=0, maximum=1)]], Length(3)]
    transform: Named
    num_samples: Count
    sampling: Sampling
    manifest: str | None
    on_bad_image: Literal["error", "skip"]
    num_workers: Annotated[int, Limits(minimum=0, maximum=1_024)]
    class_names: Sequence[str] | str | None
    datamodule: Named | None = None


class Model(Named):
    """``model=``; further keys are arguments of its constructor."""

    name: Name
    weights: str | None
    checkpoint: str | None
    train_if_missing: bool = False


class Schedule(Group):
    """``trainer.lr_scheduler``: Lightning's keys, beside ``length_argument``."""

    scheduler: Named
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
    optimizer: Named
    lr_scheduler: Schedule | None
    module: Named | None = None
    accelerator: str
    devices: Annotated[int, Limits(minimum=-1, maximum=100_000)] | str | Sequence[int]
    num_nodes: Annotated[int, Limits(minimum=1, maximum=100_000)]
    strategy: str
    precision: str | int
    deterministic: bool | Literal["warn"]

    def lightning_arguments(self) -> dict[str, Any]:
        """Return the arguments of ``pytorch_lightning.Trainer``."""
        own = {"batch_size", "patience", "label_smoothing", "optimizer", "lr_scheduler", "module"}
        return {**{name: getattr(self, name) for name in type(self).model_fields if name not in own}, **self.arguments}


class Logger(OpenGroup):
    """``logger=``; further keys are arguments of ``wandb.init``."""

    project: str
    mode: Literal["online", "offline", "disabled"]


class Explainer(Named):
    """``explainer=``; further keys are options of the method."""

    name: Name
    target: Literal["predicted", "label"]


class Row(Group):
    """A row of ``reproduce.rows``."""

    label: str
    overrides: Sequence[str]
    paper_row: str | None = None
    control: bool = False


class Publication(Group):
    """``reproduce.paper``: what ``paper.yaml`` says of a paper."""

    title: str
    protocol: Name
    datasets: Sequence[Name] = ()
    beside: Name | None = None
    checkpoint_seeds: dict[str, Sequence[Seed]] = Field(default_factory=dict)


def _rows_are_mappings(rows: Any) -> Any:
    for index, row in enumerate(rows if isinstance(rows, list) else ()):
        if not isinstance(row, Mapping):
            raise InputError(f"reproduce.rows[{index}] must be a mapping with label and overrides, not {shown(row)}")
    return rows


class Experiment(OpenGroup):
    """``reproduce``: a table or figure of a paper; further keys are values that its file uses more than once."""

    name: Name | None = None
    title: str = ""
    experiments: Sequence[Name]
    row_task: Literal["evaluate", "explain", "conservation", "train"]
    controls: Sequence[str]
    checkpoint_seeds: dict[str, Sequence[Seed]] | None
    processes: Annotated[int, Limits(minimum=1, maximum=1_024)] | Literal["auto"]
    rows: Annotated[Sequence[Row] | Named | None, BeforeValidator(_rows_are_mappings)]
    paper: Publication | None
    product: Named | None = None


class Settings(Group):
    """The whole configuration of a run."""

    device: Annotated[str, Matching(r"[a-z]+(:\d+)?", "like auto, cpu, cuda or cuda:1")]  # others are made of it
    task: Task
    dataset: Dataset
    model: Model
    trainer: Trainer
    split: str | dict[str, Any]
    map: Named
    explainer: Explainer
    protocol: dict[str, Named]
    metric: dict[str, Named]
    logger: Annotated[Logger | None, BeforeValidator(lambda content: content or None)]  # none: {}
    num_samples: Annotated[int, Limits(minimum=1, maximum=100_000_000)]
    seed: Seed
    output_dir: str | None
    data_dir: str
    reproduce: Experiment | None = None
    _document: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def composed(cls, config: DictConfig) -> "Settings":
        """Return what Hydra composed, with every interpolation filled in.

        Raises:
            InputError: as :meth:`of`, or a setting has no value.
        """
        return cls.of(resolved(config))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Settings":
        """Return plain containers as settings.

        Args:
            document: as :func:`relsplit.bench.configuration.composition.resolved` returns it; what is no setting of the
                task's (``reproduce``) may be there.

        Raises:
            InputError: a key does not exist, is missing, or has a value that cannot be used; the first one is named.
        """
        values = in_force(document)
        task = values.get("task")
        reproduces = isinstance(task, Mapping) and task.get("_target_") == "relsplit.papers.reproduce.run"
        # A row of an experiment alone lays nothing out.
        found = validated(cls, {key: value for key, value in values.items() if reproduces or key != "reproduce"})
        if not found.protocol:
            raise InputError("protocol=[]: name at least one protocol of conf/protocol")
        if isinstance(found.task, Evaluating | Explain) and found.task.explainers is not None:
            _check_explainers(found.task.explainers, reproduces)
        if isinstance(split := found.explainer.arguments.get("split"), Mapping):
            validated(Named, split, "explainer.split.")
        found._document = copy.deepcopy(dict(document))
        return found

    def document(self) -> dict[str, Any]:
        """Return the configuration as it was given to :meth:`of`, in the order in which it was composed."""
        return copy.deepcopy(self._document)

    def identity(self) -> Identity:
        """Return what decides the numbers of a run with these settings, as the files that they name are now."""
        return identified(self.document())

    def code(self) -> tuple[str, ...]:
        """Return the import path of everything that is named, whose code decides numbers, too."""
        return tuple(named_code(in_force(self._document)))

    def task_as(self, kind: type[TaskKind]) -> TaskKind:
        """Return the settings of the task.

        Args:
            kind: of the task that is wanted.

        Raises:
            InputError: it is another one.
        """
        if not isinstance(self.task, kind):
            raise InputError(f"task={kind.__name__.lower()} is wanted, not task._target_={self.task.import_path}")
        return self.task

    @property
    def split_name(self) -> str | None:
        """Name of the splitting that the explainer uses, None where it has none."""
        split = self.explainer.arguments.get("split")
        if isinstance(split, Mapping):
            return str(split["_target_"]).rsplit(".", 1)[-1]
        return None if split is None else str(split)

    @property
    def explainer_title(self) -> str:
        """Name of the explainer, with the splitting where it has one: "ours-ratio", "grad_cam"."""
        return f"{self.explainer.name}-{self.split_name}" if self.split_name else self.explainer.name

    @property
    def title(self) -> str:
        """What is explained by what, in words: "ours-ratio on demo"."""
        return f"{self.explainer_title} on {self.dataset.name}"


def _check_explainers(names: Sequence[str], reproduces: bool) -> None:
    if reproduces:
        raise InputError(
            "task.explainers is for task=evaluate and task=explain: the rows of an experiment say what explains"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not names:
        raise InputError(f"task.explainers names {twice or 'no explainer'}{' twice' if twice else ''}")
