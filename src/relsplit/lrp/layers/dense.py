"""Fully connected layers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.layers.linear_layer import spread_evenly
from relsplit.lrp.layers.weights import WeightPart, WeightParts


class Dense:
    """A fully connected layer on the last dimension."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight
        self.bias = bias
        self.output: Tensor | None = None
        self._parts = WeightParts(weight)

    @property
    def side_by_side(self) -> int | None:
        return -1

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return F.linear(h, self._parts.get(part, h))

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        return s @ self._parts.get(part, s)

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        total = relevance.sum(-1, keepdim=True)
        mask = torch.ones_like(h) if support is None else support
        count = mask.sum(-1, keepdim=True)
        return spread_evenly(mask * (total / count.clamp(min=1)), total * (count < 0.5), support)

    def reach(self, support: Tensor) -> Tensor:
        return (support.amax(-1, keepdim=True) > 0).expand(*support.shape[:-1], len(self.weight))
