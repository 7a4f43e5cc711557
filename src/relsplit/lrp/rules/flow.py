"""Relevance by the weights alone, whatever the activations are."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import ABSOLUTE
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import positive_quotient


class Flow:
    """``R_i = sum_j |W_ji| R_j / sum_k |W_jk|``: of attention weights, ``A^T R``.

    A unit without weights distributes its relevance evenly over its receptive field.
    """

    conserves = True

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        open_entries = torch.ones_like(h) if support is None else support
        s, lost = positive_quotient(relevance, layer.apply(open_entries, ABSOLUTE), 0.0)
        result = layer.transpose(s, ABSOLUTE, h).mul_(open_entries)
        return result if lost is None else result.add_(layer.spread(lost, support, h))


@RULES.register("flow")
def named_flow(stabilizer: float) -> Flow:
    """Build the rule by its name; sums of weights need no stabiliser."""
    return Flow()
