"""The product of two matrices as a layer: linear in one factor, with the other as its weights."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import spread_evenly
from relsplit.lrp.layers.weights import ABSOLUTE, WeightPart


class MatrixProduct:
    """``weights @ h`` or ``h @ weights``, of matrices or batches of them.

    Args:
        weights: the factor that is held fast.
        comes_first: whether it is the left one.
    """

    def __init__(self, weights: Tensor, comes_first: bool) -> None:
        self.weight = weights
        self.comes_first = comes_first
        self.bias: Tensor | None = None
        self.output: Tensor | None = None

    @property
    def side_by_side(self) -> int | None:
        return None

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        weights = part.of(self.weight.to(h.dtype))
        return weights @ h if self.comes_first else h @ weights

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        weights = part.of(self.weight.to(s.dtype)).mT
        return weights @ s if self.comes_first else s @ weights

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        # Not evenly but by the weights' magnitude: attention to a token is what makes it part of a receptive field.
        mask = torch.ones_like(h) if support is None else support
        count = self.apply(mask, ABSOLUTE)
        empty = count <= torch.finfo(count.dtype).tiny
        result = self.transpose(relevance / count.masked_fill(empty, 1) * ~empty, ABSOLUTE, h) * mask
        return spread_evenly(result, relevance * empty, support)

    def reach(self, support: Tensor) -> Tensor:
        reaches = self.weight != 0
        if reaches.device.type == "cpu" and bool(reaches.all()):
            # As attention without a mask does: every entry of a row or column that it sees counts alike.
            shape = torch.broadcast_shapes(self.weight.shape[:-2], support.shape[:-2])
            rows, columns = self.weight.shape[-2:]
            found = support.amax(-2 if self.comes_first else -1, keepdim=True) > 0
            size = (rows, support.shape[-1]) if self.comes_first else (support.shape[-2], columns)
            return found.expand(*shape, *size)
        seen = reaches.to(support.dtype)
        return (seen @ support if self.comes_first else support @ seen) > 0
