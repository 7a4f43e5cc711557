"""A layer whose weights and outputs are multiplied by ones on the way back, to see what passes each of them.

A rule is linear in the weights that it sends relevance back by, once its denominators are known. So what passes an
entry of the weight is the derivative of all that the inputs receive with respect to a factor of that entry: it is exact
for every rule that asks a layer for nothing but what :class:`relsplit.lrp.layers.linear_layer.LinearLayer` says.
"""

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.lrp.layers.linear_layer import LinearLayer, spread_evenly
from relsplit.lrp.layers.matrix_product import MatrixProduct
from relsplit.lrp.layers.weights import ABSOLUTE, WeightPart
from relsplit.lrp.rules.rule import Rule

_ONES = WeightPart("ones", torch.ones_like)


def relevance_of_weights(
    rule: Rule, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Carry relevance through a layer with weights by a rule, and look what passes these.

    Args:
        rule: of the layer.
        layer: with weights.
        h: its input.
        relevance: of its output.
        nonnegative: see :class:`relsplit.lrp.rules.rule.Rule`.
        support: see there.

    Returns:
        Relevance of the input; of the weight, of all samples together, of its shape; and of the bias, likewise, None
        without one: what passes no weight if the rule counts the bias among the contributions, else 0.

    Raises:
        InputError: the rule sends relevance back by something else than the layer.
    """
    masked = _MaskedWeights(layer, relevance.dtype)
    with torch.enable_grad():
        result = rule.propagate(masked, h, relevance, nonnegative=nonnegative, support=support)
        total = result.sum()
    factors = [masked.of_weight] if masked.of_bias is None else [masked.of_weight, masked.of_bias]
    if not total.requires_grad:
        raise InputError(
            f"rule: what passes a weight is not known of {type(rule).__name__}, which sends relevance back by neither "
            "layer.transpose nor layer.spread"
        )
    of_weight, *passed = torch.autograd.grad(total, factors, materialize_grads=True)
    of_bias = None
    if passed:
        of_bias = (
            relevance.sum_to_size(passed[0].shape) - passed[0] if masked.counts_bias else torch.zeros_like(*passed)
        )
    return result.detach(), of_weight, of_bias


class _MaskedWeights:
    """A layer with factors of 1 on the way back.

    Attributes:
        of_weight: factors of the shape of its weight.
        of_bias: factors of its outputs, of the shape of its bias; None without one.
        counts_bias: whether a rule has looked at the bias.
    """

    side_by_side = None

    def __init__(self, layer: LinearLayer, dtype: torch.dtype) -> None:
        assert layer.weight is not None, "a layer without weights has none to see"
        self.weight: Tensor = layer.weight
        self.of_weight = torch.ones_like(layer.weight, dtype=dtype, requires_grad=True)
        self.of_bias = None if layer.bias is None else torch.ones_like(layer.bias, dtype=dtype, requires_grad=True)
        self.counts_bias = False
        self.output = layer.output
        self._layer = layer

    @property
    def bias(self) -> Tensor | None:
        self.counts_bias = True
        return self._layer.bias

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return self._layer.apply(h, part)

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        masked = WeightPart(f"masked {part.name}", lambda weight: part.of(weight) * self.of_weight)
        return self._layer.transpose(s if self.of_bias is None else s * self.of_bias, masked, h)

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        part = ABSOLUTE if isinstance(self._layer, MatrixProduct) else _ONES  # as the layers themselves do
        mask = torch.ones_like(h) if support is None else support
        count = self._layer.apply(mask, part)
        empty = count <= torch.finfo(count.dtype).tiny
        result = self.transpose(relevance / count.masked_fill(empty, 1) * ~empty, part, h) * mask
        return spread_evenly(result, relevance * empty, support)

    def reach(self, support: Tensor) -> Tensor:
        return self._layer.reach(support)
