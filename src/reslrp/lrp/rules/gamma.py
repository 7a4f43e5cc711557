"""The gamma rule, Montavon et al. 2019."""

from torch import Tensor

from reslrp.lrp.layers import LinearLayer
from reslrp.lrp.rules.quotient import signed_denominator
from reslrp.lrp.weights import FULL, NEGATIVE, POSITIVE, WeightPart


class Gamma:
    """``R_i = sum_j (c_ji + gamma c+_ji) R_j / sum_i (c_ji + gamma c+_ji)`` with contributions ``c_ji = W_ji h_i``.

    Positive contributions count 1 + gamma times; for h >= 0 the weight is ``W + gamma W+``. Biases are dropped.
    """

    def __init__(self, gamma: float = 0.25, stabilizer: float = 0.0) -> None:
        self.gamma, self.stabilizer = gamma, stabilizer
        self._part = WeightPart(f"gamma {gamma}", lambda weight: weight + gamma * weight.clamp(min=0))

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        if nonnegative:
            s = relevance / signed_denominator(layer.apply(h, self._part), self.stabilizer)
            return layer.transpose(s, self._part, h) * h
        above, below = h.clamp(min=0), h.clamp(max=0)
        favoured = layer.apply(above, POSITIVE) + layer.apply(below, NEGATIVE)
        s = relevance / signed_denominator(layer.apply(h, FULL) + self.gamma * favoured, self.stabilizer)
        result = layer.transpose(s, FULL, h) * h
        result += self.gamma * above * layer.transpose(s, POSITIVE, h)
        result += self.gamma * below * layer.transpose(s, NEGATIVE, h)
        return result
