"""Lightning's Trainer for an evaluation: the same machine settings as training, nothing that training adds."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar

from relsplit.errors import InputError, Terminated


def evaluation_trainer(cfg: DictConfig) -> pl.Trainer:
    """A trainer that only tests.

    Several devices of one machine are spawned from this process, because a sweep or a table runs one evaluation after
    the other in it; ``trainer.strategy=ddp`` is for processes that srun or torchrun has started.

    Raises:
        InputError: ``device`` or ``trainer.devices`` is not to be had on this machine.
    """
    devices = cfg.trainer.devices
    quiet_lightning()
    try:
        return pl.Trainer(
            accelerator=cfg.device,
            devices=devices,
            num_nodes=cfg.trainer.num_nodes,
            strategy=chosen_strategy(cfg),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            inference_mode=False,  # explainers differentiate
            use_distributed_sampler=False,  # the module deals out whole batches, each sample once
            callbacks=[RichProgressBar()],
        )
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        raise InputError(
            f"device={cfg.device} trainer.devices={devices}: {' '.join(str(error).split())}; use device=cpu or fewer"
        ) from error


def chosen_strategy(cfg: DictConfig) -> str:
    """``trainer.strategy``; where that is "auto" and several devices are asked for, "ddp_spawn"."""
    strategy = str(cfg.trainer.strategy)
    return "ddp_spawn" if strategy == "auto" and _several(cfg.trainer.devices) else strategy


def quiet_lightning() -> None:
    """Keep back what Lightning says about every run."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")


def _several(devices: object) -> bool:
    if devices in ("auto", -1, "-1"):
        return torch.cuda.device_count() > 1
    return int(devices) > 1 if isinstance(devices, int | str) else len(devices) > 1  # type: ignore[arg-type]


@contextmanager
def interruptible() -> Iterator[None]:
    """Lightning turns Ctrl-C into an exit with code 1; here it stays an interruption."""
    try:
        yield
    except SystemExit as ended:
        raise (Terminated if ended.code == 143 else KeyboardInterrupt) from None


def run_test(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """``trainer.test`` whose interruption is an interruption.

    Raises:
        KeyboardInterrupt: the user interrupted (Terminated: a scheduler); what was finished is on the disk.
    """
    with interruptible():
        trainer.test(module, verbose=False)
    if trainer.received_sigterm:  # in the last batch, where Lightning leaves it at that
        raise Terminated


def accelerator_name(device: torch.device) -> str:
    """Return the device, in words, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
