"""The gamma rule, Montavon et al. 2019, generalised to inputs of both signs by Andeol et al. 2021."""

from typing import Annotated

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import FULL, NEGATIVE, POSITIVE
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.bias import add_bias
from relsplit.lrp.rules.quotient import Stabilizer, signed_quotient
from relsplit.options import Limits, checked_options


@RULES.register("gamma")
@checked_options
class Gamma:
    """Relevance follows all contributions ``c = W h``, those of the unit's own sign counting 1 + gamma times.

    For a unit with ``z = sum c >= 0`` the shares are those of ``c + gamma c+`` (for h >= 0 the weight
    ``W + gamma W+``), for one with z < 0 those of ``c + gamma c-``; so the denominator is never smaller than z. A unit
    without contributions distributes its relevance evenly over its receptive field.

    Args:
        gamma: how much the favoured contributions gain.
        stabilizer: added to the denominator, with its sign.
        bias: whether biases count among the contributions; their share is lost.
    """

    def __init__(
        self,
        gamma: Annotated[float, Limits(minimum=0)] = 0.25,
        stabilizer: Stabilizer = 0.0,
        bias: bool = False,
    ) -> None:
        self.gamma, self.stabilizer, self.bias = gamma, stabilizer, bias
        self.conserves = not bias and not stabilizer

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        above = h if nonnegative else h.clamp(min=0)
        below = None if nonnegative else h.clamp(max=0)
        z = add_bias(layer.apply(h, FULL), layer, FULL, self.bias)
        plus = add_bias(layer.apply(above, POSITIVE), layer, POSITIVE, self.bias)
        if below is not None:
            plus += layer.apply(below, NEGATIVE)
        favoured = torch.where(z >= 0, plus, z - plus)
        s, lost = signed_quotient(relevance, z + self.gamma * favoured, self.stabilizer)
        s_plus, s_minus = torch.where(z >= 0, s, 0), torch.where(z >= 0, 0, s)
        result = layer.transpose(s, FULL, h) * h
        result += self.gamma * above * (layer.transpose(s_plus, POSITIVE, h) + layer.transpose(s_minus, NEGATIVE, h))
        if below is not None:
            result += (
                self.gamma * below * (layer.transpose(s_plus, NEGATIVE, h) + layer.transpose(s_minus, POSITIVE, h))
            )
        return result if lost is None else result + layer.spread(lost, support, h)
