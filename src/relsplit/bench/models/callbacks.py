"""What training does beside learning: seeding, keeping its history, showing where it is."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from relsplit.files import replacing


class StepSeed(Callback):
    """Seed torch's generators before every training step from (seed, step, rank).

    What a network draws (dropout, stochastic depth) then does not depend on when training was interrupted.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        words = np.random.SeedSequence([self.seed, trainer.global_step, trainer.global_rank]).generate_state(1)
        torch.manual_seed(int(words[0]))


class MetricsTable(Callback):
    """Write every epoch's metrics, and the learning rate that it began with, to a CSV file, one row per epoch.

    The rows travel in the checkpoints, so after an interruption the file goes on with the very epoch that training
    goes on with: no row is lost or written twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._learning_rate = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch, "learning_rate": self._learning_rate, **metrics})
        if not trainer.is_global_zero:
            return
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class EpochProgress(Callback):
    """One progress bar over all epochs with the last validation result; without a terminal, a line now and then.

    Args:
        every: seconds between two lines where there is no terminal.
    """

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (trainer.is_global_zero and sys.stderr.isatty()):
            return
        self._bar = Progress(
            TextColumn("training"), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
        )
        self._task = self._bar.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch)
        self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is not None:
            done = trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
            self._bar.update(self._task, completed=done, description=_state(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        due = time.monotonic() - self._last_line >= self.every
        if self._bar is None and trainer.is_global_zero and due:
            self._last_line = time.monotonic()
            print(f"training: {_state(trainer)}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _state(trainer: pl.Trainer) -> str:
    text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
    metrics = trainer.callback_metrics
    if "val_loss" in metrics:
        text += f", validation loss {metrics['val_loss']:.3f}, accuracy {100 * float(metrics['val_accuracy']):.1f} %"
    return text
