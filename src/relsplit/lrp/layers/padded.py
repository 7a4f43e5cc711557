"""Layers that pad their input first, by reflection, by repetition, or unevenly."""

from collections.abc import Callable

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer, transposed_map
from relsplit.lrp.layers.weights import WeightPart


class Padded:
    """A layer that pads its input first, by reflection, by repetition, or unevenly."""

    def __init__(self, layer: LinearLayer, pad: Callable[[Tensor], Tensor]) -> None:
        self.layer = layer
        self.pad = pad
        self.bias = layer.bias

    @property
    def side_by_side(self) -> int | None:
        return None

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return self.layer.apply(self.pad(h), part)

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        return transposed_map(self.pad, self.layer.transpose(s, part, self.pad(h)), h)

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        mask = self.pad(torch.ones_like(h) if support is None else support)
        return transposed_map(self.pad, self.layer.spread(relevance, mask, self.pad(h)), h)

    def reach(self, support: Tensor) -> Tensor:
        return self.layer.reach(self.pad(support))
