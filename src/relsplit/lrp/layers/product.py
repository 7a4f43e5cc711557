"""The product of two activations as a layer: linear in one factor, with the other as its weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import spread_evenly, transposed_map
from relsplit.lrp.layers.weights import ABSOLUTE, WeightPart


class Product:
    """``f(weights, h)``, bilinear: a matrix product, a batched one, an einsum.

    Args:
        function: of the weights and h.
        weights: the other factor.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], weights: Tensor) -> None:
        self.function = function
        self.weights = weights
        self.bias: Tensor | None = None

    @property
    def side_by_side(self) -> int | None:
        return None

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return self.function(part.of(self.weights.to(h.dtype)), h)

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        weights = part.of(self.weights.to(s.dtype))
        return transposed_map(lambda x: self.function(weights, x), s, h)

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        # Not evenly but by the weights' magnitude: attention to a token is what makes it part of a receptive field.
        mask = torch.ones_like(h) if support is None else support
        count = self.apply(mask, ABSOLUTE)
        empty = count <= torch.finfo(count.dtype).tiny
        result = self.transpose(relevance / count.masked_fill(empty, 1) * ~empty, ABSOLUTE, h) * mask
        return spread_evenly(result, relevance * empty, support)

    def reach(self, support: Tensor) -> Tensor:
        return self.function(torch.ones_like(self.weights), support.to(self.weights.dtype)) > 0
