"""Lightning's Trainer for an evaluation: the same machine settings as training, nothing that training adds."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import RichProgressBar

from relsplit.errors import InputError, Terminated

Devices = int | str | Sequence[int]
"""``trainer.devices``: how many, or which."""


def evaluation_trainer(device: str, devices: Devices, num_nodes: int, strategy: str) -> pl.Trainer:
    """A trainer that only tests.

    Several devices of one machine are spawned from this process, because a sweep or a table runs one evaluation after
    the other in it; ``trainer.strategy=ddp`` is for processes that srun or torchrun has started.

    Args:
        device: of the configuration.
        devices: ``trainer.devices``.
        num_nodes: ``trainer.num_nodes``.
        strategy: ``trainer.strategy``.

    Raises:
        InputError: ``device`` or ``trainer.devices`` is not to be had on this machine.
    """
    quiet_lightning()
    try:
        return pl.Trainer(
            accelerator=device,
            devices=devices,  # type: ignore[arg-type]  # any sequence will do
            num_nodes=num_nodes,
            strategy=chosen_strategy(strategy, devices),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            inference_mode=False,  # explainers differentiate
            use_distributed_sampler=False,  # the module deals out whole batches, each sample once
            callbacks=[RichProgressBar()],
        )
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        raise InputError(
            f"device={device} trainer.devices={devices}: {' '.join(str(error).split())}; use device=cpu or fewer"
        ) from error


def chosen_strategy(strategy: str, devices: Devices) -> str:
    """``trainer.strategy``; where that is "auto" and several devices are asked for, "ddp_spawn"."""
    return "ddp_spawn" if strategy == "auto" and _several(devices) else strategy


def quiet_lightning() -> None:
    """Keep back what Lightning says about every run."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")


def _several(devices: Devices) -> bool:
    if devices in ("auto", -1, "-1"):
        return torch.cuda.device_count() > 1
    return int(devices) > 1 if isinstance(devices, int | str) else len(devices) > 1


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
