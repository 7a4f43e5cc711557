"""``task=train``: dataset and initial network -> fine-tuning -> best checkpoint, history and test accuracy."""

from __future__ import annotations

import inspect
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from reslrp.errors import InputError
from reslrp.models.build import initial_model
from reslrp.models.callbacks import EpochProgress, MetricsTable, StepSeed
from reslrp.models.checkpoint import load_checkpoint, read_checkpoint
from reslrp.models.fine_tuning import FineTuning
from reslrp.results.append_log import write_atomically
from reslrp.results.provenance import hardware, versions
from reslrp.results.run_config import claim_folder, config_hash
from reslrp.results.summary import SUMMARY, read_summary, write_summary

BEST, LAST, METRICS = "best.ckpt", "last.ckpt", "metrics.csv"

_FINE_TUNING = ("optimizer", "lr_scheduler", "label_smoothing")
_NOT_TRAINER = (*_FINE_TUNING, "batch_size", "patience")
"""Keys of the trainer's configuration that are not arguments of pytorch_lightning.Trainer."""

_DATASET = ("name", "catalogue", "datamodule")
_ELSEWHERE = ("accelerator", "devices", "num_nodes", "strategy")
"""Where training runs, which may change between two starts of one training."""

_MANY_STEPS = 5_000


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train ``cfg.model`` on ``cfg.dataset``; go on where an interrupted training stopped.

    Leaves ``best.ckpt`` (lowest validation loss), ``last.ckpt`` (after every epoch), ``metrics.csv``, ``config.yaml``
    and ``summary.json`` in :func:`run_folder`. A finished training is not repeated.

    Returns:
        the content of ``summary.json``; ``accuracy`` is the share of right test images, in [0, 1].

    Raises:
        InputError: the data, the model, the settings or the run folder cannot be used; nothing is trained then.
    """
    folder = run_folder(cfg)
    config = training_config(cfg)
    _claim(folder, config)
    if (folder / SUMMARY).is_file():
        summary = read_summary(folder)
        print(f"already trained: {folder / BEST}, test accuracy {100 * summary['accuracy']:.1f} %")
        return summary

    catalogue = instantiate(cfg.dataset.catalogue)
    data = instantiate(cfg.dataset.datamodule, batch_size=cfg.trainer.batch_size)(catalogue)
    network = initial_model(cfg, catalogue.num_classes)
    module = FineTuning(
        network,
        catalogue.num_classes,
        **{key: instantiate(cfg.trainer[key], _convert_="all") for key in _FINE_TUNING},
    )
    history = MetricsTable(folder / METRICS)
    trainer = _trainer(cfg, folder, config, history)
    _warn_if_slow(cfg, trainer, len(catalogue.split("train")))

    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        _fit(trainer, module, data, folder / LAST)
    seconds = time.monotonic() - started

    load_checkpoint(network, folder / BEST)
    (test,) = trainer.test(module, data, verbose=False)
    summary = {
        "dataset": cfg.dataset.name,
        "model": cfg.model.name,
        "seed": cfg.seed,
        "num_classes": catalogue.num_classes,
        "accuracy": test["test_accuracy"],
        "test_loss": test["test_loss"],
        "best_epoch": min(history.rows, key=lambda row: row["val_loss"])["epoch"],
        "epochs": len(history.rows),
        "seconds": seconds,
        "config_hash": config_hash(config),
        "versions": versions(),
        "hardware": hardware(_accelerator(trainer), trainer.world_size),
    }
    if trainer.is_global_zero:
        write_summary(folder, summary)
        print(f"trained: {folder / BEST}, test accuracy {100 * summary['accuracy']:.1f} %")
    return summary


def ensure_trained(cfg: DictConfig) -> None:
    """Train the model unless ``cfg.model.checkpoint`` is a file of the user's or a finished training's result.

    Raises:
        InputError: as :func:`run`.
    """
    folder = run_folder(cfg)
    checkpoint = cfg.model.checkpoint
    made_here = checkpoint is not None and Path(checkpoint).resolve() == (folder / BEST).resolve()
    if made_here and not (folder / SUMMARY).is_file():
        run(cfg)


def run_folder(cfg: DictConfig) -> Path:
    """``output_dir`` of a training task, else ``outputs/train/<dataset>/<model>/seed<seed>``."""
    if cfg.output_dir is not None and cfg.task["_target_"].endswith(".train.run"):
        return Path(cfg.output_dir)
    return Path("outputs/train") / cfg.dataset.name / cfg.model.name / f"seed{cfg.seed}"


def training_config(cfg: DictConfig) -> dict[str, Any]:
    """The part of the configuration that decides what is learned, with every interpolation resolved."""

    def plain(node: DictConfig, keys: list[str]) -> dict[str, Any]:
        resolved = OmegaConf.to_container(node, resolve=True)
        assert isinstance(resolved, dict)
        return {key: resolved[key] for key in keys if key in resolved}

    dataset = plain(cfg.dataset, list(_DATASET))
    for key in ("num_workers", "batch_size"):
        dataset["datamodule"].pop(key, None)
    return {
        "seed": cfg.seed,
        "dataset": dataset,
        "model": plain(cfg.model, [str(key) for key in cfg.model if key != "checkpoint"]),
        "training": plain(cfg.trainer, [str(key) for key in cfg.trainer if key not in _ELSEWHERE]),
    }


def _claim(folder: Path, config: dict[str, Any]) -> None:
    """Take the folder for this configuration; a training that never finished an epoch does not hold it."""
    if (folder / "config.yaml").is_file() and not (folder / LAST).is_file():
        try:
            (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
        except OSError as error:
            raise InputError(f"output_dir {folder} cannot be written ({error.strerror}): choose another") from error
    claim_folder(folder, config)


def _trainer(cfg: DictConfig, folder: Path, config: dict[str, Any], history: MetricsTable) -> pl.Trainer:
    callbacks: list[Callback] = [StepSeed(cfg.seed), history, EpochProgress()]
    if cfg.trainer.patience is not None:
        callbacks.append(EarlyStopping("val_loss", patience=cfg.trainer.patience, check_on_train_epoch_end=True))
    # The order matters: the last checkpoint holds the state of the callbacks before it.
    callbacks += [
        ModelCheckpoint(
            folder,
            Path(BEST).stem,
            monitor="val_loss",
            save_weights_only=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        ModelCheckpoint(folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    arguments = OmegaConf.masked_copy(cfg.trainer, [str(key) for key in cfg.trainer if key not in _NOT_TRAINER])
    try:
        trainer: pl.Trainer = instantiate(
            arguments,
            default_root_dir=str(folder),
            callbacks=callbacks,
            logger=_dashboard(cfg, folder, config),
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except Exception as error:
        cause = error.__cause__ or error
        raise InputError(f"trainer: {' '.join(str(cause).split())}; check the trainer.* settings and device") from error
    return trainer


def _dashboard(cfg: DictConfig, folder: Path, config: dict[str, Any]) -> WandbLogger | bool:
    """Live curves on Weights & Biases; a resumed training goes on in the same dashboard run."""
    if not cfg.logger:
        return False
    options: dict[str, Any] = {str(key): value for key, value in cfg.logger.items()}
    options["mode"] = os.environ.get("WANDB_MODE", options["mode"])
    if options["mode"] == "disabled":
        return False
    name = f"train-{cfg.dataset.name}-{cfg.model.name}-seed{cfg.seed}"
    logger = WandbLogger(name=name, id=f"{name}-{config_hash(config)}", save_dir=str(folder), **options)
    logger.log_hyperparams(config)
    return logger


def _fit(trainer: pl.Trainer, module: FineTuning, data: pl.LightningDataModule, last: Path) -> None:
    if not last.is_file():
        trainer.fit(module, data)
        return
    # Lightning releases before 2.6 unpickle whatever the file holds, so it is first read the safe way on all of them.
    state = read_checkpoint(last)
    print(f"resuming after epoch {state['epoch'] + 1}: {last}")
    stopped = any(
        name.startswith("EarlyStopping") and value["stopped_epoch"] for name, value in state["callbacks"].items()
    )
    if stopped:
        # Interrupted between the last epoch and the test: nothing is left to learn.
        trainer.fit_loop.max_epochs = state["epoch"] + 1
    safely = {"weights_only": True} if "weights_only" in inspect.signature(trainer.fit).parameters else {}
    trainer.fit(module, data, ckpt_path=str(last), **safely)


def _warn_if_slow(cfg: DictConfig, trainer: pl.Trainer, num_train: int) -> None:
    steps = num_train * cfg.trainer.max_epochs // cfg.trainer.batch_size
    if trainer.strategy.root_device.type == "cpu" and cfg.dataset.image_size >= 128 and steps > _MANY_STEPS:
        print(f"warning: no GPU in use, and up to {steps} steps of {cfg.trainer.batch_size} images will take days")


def _accelerator(trainer: pl.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
