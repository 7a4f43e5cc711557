"""Any rule, of a layer whose outputs are explained by their negatives: what speaks against them receives relevance."""

from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import WeightPart
from relsplit.lrp.rules.rule import Rule


class Negated:
    """A rule that sees its layer with negated weights.

    Args:
        rule: of the layer.
    """

    def __init__(self, rule: Rule) -> None:
        self.conserves = rule.conserves
        self._rule = rule

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        return self._rule.propagate(_NegatedLayer(layer), h, relevance, nonnegative=nonnegative, support=support)


class _NegatedLayer:
    """A layer ``-W h - b``, see :class:`relsplit.lrp.layers.linear_layer.LinearLayer`."""

    def __init__(self, layer: LinearLayer) -> None:
        self.output = None if layer.output is None else -layer.output
        self.side_by_side = layer.side_by_side
        self.spread = layer.spread
        self.reach = layer.reach
        self._layer = layer

    @property
    def weight(self) -> Tensor | None:
        return self._layer.weight

    @property
    def bias(self) -> Tensor | None:
        bias = self._layer.bias  # only if the rule asks: who counts what passes a bias goes by that
        return None if bias is None else -bias

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return self._layer.apply(h, _of_negated(part))

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        return self._layer.transpose(s, _of_negated(part), h)


def _of_negated(part: WeightPart) -> WeightPart:
    return WeightPart(f"{part.name} of the negated", lambda weight: part.of(-weight))
