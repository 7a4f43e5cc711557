"""The alpha-beta rule, Bach et al. 2015."""

from typing import Annotated

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import NEGATIVE, POSITIVE
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.bias import add_bias
from relsplit.lrp.rules.quotient import Stabilizer, positive_quotient
from relsplit.options import Limits, checked_options


@RULES.register("alpha2_beta1")
@checked_options
class AlphaBeta:
    """``alpha`` times the positive contributions' shares minus ``beta`` times the negative ones', alpha - beta = 1.

    A unit that lacks contributions of one sign follows those of the other alone with weight 1, so that nothing is lost;
    one that lacks both distributes its relevance evenly over its receptive field.

    Args:
        alpha: weight of the positive shares.
        beta: weight of the negative shares.
        stabilizer: added to the denominators; what then lacks a receiver is lost.
        bias: whether biases count among the contributions; their share is lost.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: Annotated[float, Limits(minimum=0)] = 1.0,
        stabilizer: Stabilizer = 0.0,
        bias: bool = False,
    ) -> None:
        if abs(alpha - beta - 1) > 1e-6:
            raise InputError(f"alpha-beta rule: alpha - beta must be 1, not alpha={alpha}, beta={beta}")
        self.alpha, self.beta, self.stabilizer, self.bias = alpha, beta, stabilizer, bias
        self.conserves = not bias and not stabilizer

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        above = h if nonnegative else h.clamp(min=0)
        below = None if nonnegative else h.clamp(max=0)
        plus = add_bias(layer.apply(above, POSITIVE), layer, POSITIVE, self.bias)
        minus = add_bias(layer.apply(above, NEGATIVE), layer, NEGATIVE, self.bias).neg_()
        if below is not None:
            plus += layer.apply(below, NEGATIVE)
            minus -= layer.apply(below, POSITIVE)
        to_plus, to_minus = relevance * self.alpha, relevance * -self.beta
        if not self.stabilizer:
            to_plus = torch.where(minus > 0, to_plus, relevance)
            to_minus = torch.where(plus > 0, to_minus, torch.where(minus > 0, relevance, 0))
            to_plus = torch.where((plus > 0) | (minus <= 0), to_plus, 0)
            to_minus = torch.where(minus > 0, to_minus, 0)
        s_plus, lost = positive_quotient(to_plus, plus, self.stabilizer)
        s_minus, lost_below = positive_quotient(to_minus, minus, self.stabilizer)
        result = layer.transpose(s_plus, POSITIVE, h) - layer.transpose(s_minus, NEGATIVE, h)
        result *= above
        if below is not None:
            result += below * (layer.transpose(s_plus, NEGATIVE, h) - layer.transpose(s_minus, POSITIVE, h))
        for rest in (lost, lost_below):
            if rest is not None:
                result += layer.spread(rest, support, h)
        return result
