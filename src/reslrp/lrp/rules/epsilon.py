"""The epsilon rule, Bach et al. 2015."""

from torch import Tensor

from reslrp.lrp.layers import LinearLayer
from reslrp.lrp.rules.quotient import signed_denominator
from reslrp.lrp.weights import FULL


class Epsilon:
    """``R_i = h_i sum_j W_ji R_j / (z_j + epsilon sign(z_j))`` with ``z = W h + b``.

    The share of the bias (and of epsilon) goes nowhere: the rule conserves relevance only without biases.
    """

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.epsilon = epsilon

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        z = layer.apply(h, FULL)
        if layer.bias is not None:
            z = z + layer.bias
        return layer.transpose(relevance / signed_denominator(z, self.epsilon), FULL, h) * h
