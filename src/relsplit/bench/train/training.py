"""Training a network: what task ``train`` does, and what an evaluation does first where a small network is missing."""

import inspect
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from relsplit.bench.configuration.code import check_code
from relsplit.bench.configuration.folders import BEST, SUMMARY, training_folder
from relsplit.bench.configuration.identity import Identity, with_digests
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.configured import read_catalogue
from relsplit.bench.data.datamodule import ImageDataModule
from relsplit.bench.machine.lightning import accelerator_name, chosen_strategy, interruptible, quiet_lightning
from relsplit.bench.machine.processes import first_process
from relsplit.bench.machine.terminal import say
from relsplit.bench.models.build import initial_model
from relsplit.bench.models.callbacks import EpochProgress, MetricsTable, StepSeed
from relsplit.bench.models.checkpoint import load_checkpoint, read_checkpoint
from relsplit.bench.models.fine_tuning import PREPROCESSING, FineTuning
from relsplit.bench.models.objective import OneClass, SeveralClasses
from relsplit.bench.models.whole_checkpoints import WholeCheckpoints
from relsplit.bench.runs.dashboard import wandb_options
from relsplit.bench.runs.folder import CONFIG, belongs_to, check_folder, claim_folder, holding
from relsplit.bench.runs.provenance import hardware, versions
from relsplit.bench.runs.summary import TRAINING, read_summary, write_summary
from relsplit.bench.train.unfinished import LAST
from relsplit.errors import InputError

METRICS = "metrics.csv"

_DATASET = ("name", "catalogue", "datamodule")
_ELSEWHERE = ("accelerator", "devices", "num_nodes", "strategy")
"""Where training runs, which may change between two starts of one training."""

_NOT_LEARNED = ("checkpoint", "train_if_missing")
"""Keys of the model's configuration that do not matter to training."""

_MANY_STEPS = 5_000


def train(settings: Settings, waiting: bool = False) -> dict[str, Any]:
    """Train ``model`` on ``dataset``; go on where an interrupted training stopped.

    Leaves ``best.ckpt`` (lowest validation loss), ``last.ckpt`` (after every epoch), ``metrics.csv``, ``config.yaml``
    and ``summary.json`` in :func:`training_folder`. A finished training is not repeated.

    Args:
        settings: of the run.
        waiting: whether to wait for another process that trains there, and take what it has learnt.

    Returns:
        the content of ``summary.json``; ``accuracy`` is the share of right test images, in [0, 1].

    Raises:
        InputError: the data, the model, the settings or the run folder cannot be used; nothing is trained then.
    """
    check_code(settings)
    folder = training_folder(settings)
    if not first_process():  # srun or torchrun started this process beside the first one, which holds the folder
        return train_in(settings, folder)
    with holding(folder, waiting):
        return train_in(settings, folder)


def train_in(settings: Settings, folder: Path) -> dict[str, Any]:
    """Train in a folder that no other process works in, see :func:`train`."""
    identity = training_identity(settings)
    if (folder / BEST).is_file() and not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder / BEST} is there, but no {CONFIG} says how it was trained: delete it to train anew, or move it "
            "elsewhere and give it with model.checkpoint=FILE"
        )
    achieved = any((folder / name).is_file() for name in (BEST, LAST, SUMMARY))
    if achieved or not (folder / CONFIG).is_file():
        check_folder(folder, identity)  # refuses what is not its own before anything is drawn or downloaded
    if (folder / SUMMARY).is_file():
        summary = read_summary(folder, TRAINING)
        if summary.get("config_hash") != identity.hash or not (folder / BEST).is_file():
            raise InputError(
                f"{folder / SUMMARY} is of another training, or its {BEST} is gone: delete it and start the training "
                "again, which goes on where it ended"
            )
        say(f"already trained: {folder / BEST}, test accuracy {100 * summary['accuracy']:.1f} %")
        return summary

    catalogue = read_catalogue(settings.dataset)
    if catalogue.num_classes < 2:
        raise InputError(
            f"dataset={settings.dataset.name} has one class ({', '.join(catalogue.class_names)}): a classifier tells "
            "two apart at least, add the folder of another"
        )
    data = _data(settings, catalogue)
    module = _module(settings, catalogue)
    module.check_optimizer()  # wrong arguments of it show here
    trainer = _trainer(settings, folder, identity)
    _warn_if_slow(settings, trainer, len(data.samples["train"]))

    with _shown_until_the_end(trainer):
        started = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            _fit(trainer, module, data, folder / LAST, identity.hash)
        seconds = time.monotonic() - started

        history = pd.read_csv(folder / METRICS)
        if not np.isfinite(history["val_loss"]).any():
            raise InputError(
                f"the training in {folder} diverged (no validation loss is a finite number): delete it, lower "
                "trainer.optimizer.lr and start again"
            )
        load_checkpoint(module.network, folder / BEST)
        (test,) = trainer.test(module, datamodule=data, verbose=False)
    best = history.loc[history["val_loss"].argmin()]
    summary = {
        "dataset": settings.dataset.name,
        "model": settings.model.name,
        "seed": settings.seed,
        "class_names": list(catalogue.class_names),
        **{key.removeprefix("test_"): value for key, value in test.items() if key != "test_loss"},
        "test_loss": test["test_loss"],
        "best_epoch": int(best["epoch"]),
        "epochs": len(history),
        "seconds": seconds,
        "config_hash": identity.hash,
        "versions": versions(),
        "hardware": hardware(accelerator_name(trainer.strategy.root_device), trainer.world_size),
    }
    if trainer.is_global_zero:
        write_summary(folder, summary)
    if not catalogue.multi_label:
        _warn_if_at_chance(float(best["val_accuracy"]), len(data.samples["val"]), catalogue.num_classes)
    precision = summary.get("mean_average_precision")
    also = "" if precision is None else f", mean average precision {precision:.3f}"
    say(f"trained: {folder / BEST}, test accuracy {100 * summary['accuracy']:.1f} %{also}")
    return summary


def training_identity(settings: Settings) -> Identity:
    """Return the part of the configuration that decides what is learned.

    Raises:
        InputError: the dataset has no training images.
    """
    if settings.dataset.datamodule is None:
        raise InputError(
            f"dataset={settings.dataset.name} has no training images: choose another dataset for task=train"
        )
    document = settings.document()
    dataset = {key: value for key, value in document["dataset"].items() if key in _DATASET}
    for key in ("num_workers", "batch_size"):
        dataset["datamodule"].pop(key, None)
    learned = {
        "seed": settings.seed,
        "dataset": dataset,
        "model": {key: value for key, value in document["model"].items() if key not in _NOT_LEARNED},
        "training": {key: value for key, value in document["trainer"].items() if key not in _ELSEWHERE},
    }
    return Identity(with_digests(learned))


def _data(settings: Settings, catalogue: Catalogue) -> ImageDataModule:
    """The data module, its splits listed, so that what is wrong with them shows before anything is written."""
    assert settings.dataset.datamodule is not None  # the identity says otherwise
    partial = settings.dataset.datamodule.build("dataset.datamodule")
    try:
        data: ImageDataModule = partial(catalogue)
    except TypeError as error:
        raise InputError(f"dataset.datamodule cannot be built: {error}") from error
    data.setup("fit")
    data.setup("test")
    return data


def _module(settings: Settings, catalogue: Catalogue) -> FineTuning:
    trainer = settings.trainer
    schedule = None
    if trainer.lr_scheduler is not None:
        schedule = trainer.lr_scheduler.model_dump(exclude_unset=True)
        schedule["scheduler"] = trainer.lr_scheduler.scheduler.build("trainer.lr_scheduler.scheduler")
    make = FineTuning if trainer.module is None else trainer.module.build("trainer.module", _partial_=True)
    module: FineTuning = make(
        initial_model(settings, catalogue.num_classes),
        catalogue.class_names,
        {key: getattr(settings.dataset, key) for key in PREPROCESSING},
        optimizer=trainer.optimizer.build("trainer.optimizer"),
        lr_scheduler=schedule,
        label_smoothing=trainer.label_smoothing,
        objective=SeveralClasses() if catalogue.multi_label else OneClass(),
    )
    return module


def _trainer(settings: Settings, folder: Path, identity: Identity) -> pl.Trainer:
    callbacks: list[Callback] = [
        StepSeed(settings.seed),
        ClaimFolder(folder, identity),
        MetricsTable(folder / METRICS),
        EpochProgress(),
    ]
    if settings.trainer.patience is not None:
        callbacks.append(EarlyStopping("val_loss", patience=settings.trainer.patience, check_on_train_epoch_end=True))
    # The order matters: the last checkpoint holds the state of the callbacks before it.
    best = ModelCheckpoint(
        folder,
        Path(BEST).stem,
        monitor="val_loss",
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False)
    quiet_lightning()
    arguments = settings.trainer.lightning_arguments()
    arguments["strategy"] = chosen_strategy(settings.trainer.strategy, settings.trainer.devices)
    try:
        return pl.Trainer(
            **arguments,
            default_root_dir=str(folder),
            callbacks=[*callbacks, best, last],
            logger=_dashboard(settings, folder, identity),
            plugins=[WholeCheckpoints()],
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        raise InputError(
            f"device={settings.device}, trainer.*: no such Trainer ({' '.join(str(error).split())})"
        ) from error


class ClaimFolder(Callback):
    """Make the folder the training's own when the first epoch is through; until then another training may have it.

    Checkpoints say whose they are.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint says of the training that it belongs to."""
        return {"run": self.identity.hash}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the configuration, before the first checkpoint is written."""
        if not trainer.is_global_zero or belongs_to(self.folder, self.identity):
            return
        # Of another training, which was stopped before its first checkpoint; in an order that can be stopped, too.
        for left_over in (METRICS, CONFIG):
            (self.folder / left_over).unlink(missing_ok=True)
        claim_folder(self.folder, self.identity)


def _dashboard(settings: Settings, folder: Path, identity: Identity) -> WandbLogger | bool:
    """Live curves on Weights & Biases; a resumed training goes on in the same dashboard run."""
    options = wandb_options(settings.logger)
    if options is None:
        return False
    name = f"train-{settings.dataset.name}-{settings.model.name}-seed{settings.seed}"
    try:
        logger = WandbLogger(name=name, id=f"{name}-{identity.hash}", save_dir=str(folder.resolve()), **options)
        logger.log_hyperparams(identity.written())
    except Exception as error:  # the dashboard is a copy: what metrics.csv has is all that it would show
        say(f"warning: no wandb dashboard ({' '.join(str(error).split())}); {folder / METRICS} has the curves")
        return False
    return logger


@contextmanager
def _shown_until_the_end(trainer: pl.Trainer) -> Iterator[None]:
    """Close the dashboard's run, however the training ends: the next one of this process is to have its own."""
    code = 1
    try:
        yield
        code = 0
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(code)


def _fit(trainer: pl.Trainer, module: FineTuning, data: ImageDataModule, last: Path, run: str) -> None:
    """Fit from the start or from the last finished epoch.

    Args:
        trainer: fits.
        module: what is fitted.
        data: to what.
        last: checkpoint of the last finished epoch, if there is one.
        run: hash of the training's configuration, which the checkpoint must bear.

    Raises:
        KeyboardInterrupt: the user interrupted; the last finished epoch is on the disk.
        InputError: a batch of one image stops a batch normalisation, or the checkpoint is another training's.
    """
    resume: dict[str, Any] = {}
    if last.is_file():
        # Lightning before 2.6 unpickles whatever the file holds, so it is first read the safe way.
        state = read_checkpoint(last)
        if state.get("callbacks", {}).get(ClaimFolder.__name__, {}).get("run") != run:
            raise InputError(
                f"{last} is of another training than its {CONFIG}: delete it, or choose another output_dir"
            )
        say(f"resuming after epoch {state['epoch'] + 1}: {last}")
        resume = {"ckpt_path": str(last)}
        if "weights_only" in inspect.signature(trainer.fit).parameters:
            resume["weights_only"] = True
        early_stopping = (each for name, each in state["callbacks"].items() if name.startswith("EarlyStopping"))
        if any(each["stopped_epoch"] or each["wait_count"] >= each["patience"] for each in early_stopping):
            # Interrupted between the last epoch and the test: nothing is left to learn.
            trainer.fit_loop.max_epochs = state["epoch"] + 1
    try:
        with interruptible():
            trainer.fit(module, datamodule=data, **resume)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"trainer.batch_size={data.batch_size} leaves a batch of one of {len(data.samples['train'])} images, "
            "which a batch normalisation cannot learn from at this image size: choose another trainer.batch_size"
        ) from error


def _warn_if_at_chance(accuracy: float, count: int, num_classes: int) -> None:
    chance = 1 / num_classes
    if accuracy <= chance + 2 * math.sqrt(chance * (1 - chance) / count):
        say(
            f"warning: the best validation accuracy, {100 * accuracy:.1f} % of {count} images, is no better than "
            f"chance ({100 * chance:.1f} %): start from pretrained weights (model.weights), change "
            "trainer.optimizer.lr, or add images"
        )


def _warn_if_slow(settings: Settings, trainer: pl.Trainer, num_train: int) -> None:
    steps = num_train * settings.trainer.max_epochs // settings.trainer.batch_size
    if trainer.strategy.root_device.type == "cpu" and settings.dataset.image_size >= 128 and steps > _MANY_STEPS:
        say(f"warning: no GPU in use, and up to {steps} steps of {settings.trainer.batch_size} images will take days")
