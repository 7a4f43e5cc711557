"""Fully connected layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer, spread_evenly
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


def rows_with_relevance(relevance: Tensor) -> Tensor | None:
    """Return which rows (all but the last dimension, as one) have any relevance; None where it is most of them.

    Of a class token, or of a text's next token, one row of hundreds has. An accelerator would have to be waited for,
    and what is differentiated may be 0 only here: there it is None, too.
    """
    rows = relevance.flatten(0, -2) if relevance.dim() > 1 and relevance.is_contiguous() else None
    if rows is None or not rows.numel() or rows.device.type != "cpu" or torch.is_grad_enabled():
        return None
    if 2 * int((rows[:, 0] != 0).sum()) > len(rows):  # mostly so: the rest need not be looked at
        return None
    found = rows.any(1).nonzero().squeeze(1)
    return found if 2 * len(found) <= len(rows) else None


def on_rows(
    propagate: Callable[[LinearLayer, Tensor, Tensor], Tensor],
    layer: LinearLayer,
    h: Tensor,
    relevance: Tensor,
    rows: Tensor,
) -> Tensor:
    """Carry relevance through a fully connected layer at some of its rows; the others receive none.

    Args:
        propagate: of a rule, from layer, input and relevance to the input's relevance.
        layer: fully connected.
        h: its input (..., I).
        relevance: of its output (..., O).
        rows: indices of them.
    """
    if layer.output is not None:
        layer.output = layer.output.flatten(0, -2)[rows]
    result = h.new_zeros(h.shape)
    if len(rows):
        part = propagate(layer, h.flatten(0, -2)[rows], relevance.flatten(0, -2)[rows])
        result.flatten(0, -2).index_copy_(0, rows, part)
    return result
