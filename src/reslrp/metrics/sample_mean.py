"""Mean of one number per sample, right on one process and on many."""

from typing import Any

import torch
import torchmetrics
from torch import Tensor

from reslrp.errors import InputError


class SampleMean(torchmetrics.Metric):
    """Base of the metrics whose `update` computes values (N,) and hands them to `add`."""

    full_state_update = False
    is_differentiable = False

    total: Tensor
    samples: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Count values (N,)."""
        self.total += values.detach().double().sum().to(self.total.device)
        self.samples += len(values)

    def compute(self) -> Tensor:
        """Mean over all samples; InputError before the first."""
        if self.samples == 0:
            raise InputError("no sample has been measured: call update before compute")
        return self.total / self.samples
