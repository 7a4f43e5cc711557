"""Ratio-based splitting for a layer: paper Eq. 5 for any number of summands."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import ABSOLUTE
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import positive_quotient


@RULES.register("ratio")
class RatioRule:
    """``R_i = |h_i| sum_j |W_ji| R_j / sum_k |W_jk h_k|``: a contribution's share is its magnitude.

    Biases are dropped. A unit without contributions distributes its relevance evenly over its receptive field.
    """

    conserves = True

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        return shared_out(layer, h if nonnegative else torch.abs(h), relevance, support)


def shared_out(layer: LinearLayer, values: Tensor, relevance: Tensor, support: Tensor | None) -> Tensor:
    """Return ``values_i sum_j |W_ji| R_j / sum_k |W_jk| values_k`` for values that are not negative."""
    s, lost = positive_quotient(relevance, layer.apply(values, ABSOLUTE), 0.0)
    result = layer.transpose(s, ABSOLUTE, values).mul_(values)
    return result if lost is None else result.add_(layer.spread(lost, support, values))
