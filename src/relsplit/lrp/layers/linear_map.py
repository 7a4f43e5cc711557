"""Average pooling, means, sums, interpolation: linear maps without parameters."""

from collections.abc import Callable

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import spread_evenly, transposed_map
from relsplit.lrp.layers.weights import WeightPart


class LinearMap:
    """A linear map without parameters and with non-negative entries (average pooling, mean, interpolation, ...)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.output: Tensor | None = None

    @property
    def side_by_side(self) -> int | None:
        return None

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        # Its weights are a non-negative matrix times 1, so a part of W is that part of 1.
        factor = _factor(part)
        return self.function(h) if factor == 1 else self.function(h) * factor

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        factor = _factor(part)
        result = transposed_map(self.function, s, h)
        return result if factor == 1 else result * factor

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        mask = torch.ones_like(h) if support is None else support
        count = self.function(mask)
        empty = count <= 0
        result = transposed_map(self.function, relevance / count.masked_fill(empty, 1), h) * mask
        return spread_evenly(result, relevance * empty, support)

    def reach(self, support: Tensor) -> Tensor:
        return self.function(support) > 0


def _factor(part: WeightPart) -> float:
    return float(part.of(torch.ones((), device="cpu")))  # whatever device its user made the default
