"""A run that is told to end, ends."""

import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from relsplit.bench.machine.lightning import evaluation_trainer, run_test


class Signalled(pl.LightningModule):
    """Gets a signal in the batch that is told."""

    def __init__(self, signum: signal.Signals, batch: int) -> None:
        super().__init__()
        self.signum, self.batch = signum, batch
        self.seen: list[int] = []

    def test_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(torch.arange(3), batch_size=1)  # type: ignore[arg-type]

    def test_step(self, batch: torch.Tensor, batch_index: int) -> None:
        self.seen.append(int(batch))
        if batch_index == self.batch:
            os.kill(os.getpid(), self.signum)


@pytest.mark.parametrize(("batch", "seen"), [(0, [0]), (2, [0, 1, 2])])
def test_a_schedulers_signal_ends_the_run_after_its_batch(batch: int, seen: list[int]) -> None:
    trainer = evaluation_trainer("cpu", devices=1, num_nodes=1, strategy="auto")
    module = Signalled(signal.SIGTERM, batch)
    with pytest.raises(KeyboardInterrupt):
        run_test(trainer, module)
    assert module.seen == seen
