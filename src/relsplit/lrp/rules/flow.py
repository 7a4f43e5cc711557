"""Relevance by the weights alone, whatever the activations are."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.ratio import shared_out


@RULES.register("flow")
class Flow:
    """``R_i = sum_j |W_ji| R_j / sum_k |W_jk|``: of attention weights, ``A^T R``.

    A unit without weights distributes its relevance evenly over its receptive field.
    """

    conserves = True

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        return shared_out(layer, torch.ones_like(h) if support is None else support, relevance, support)
