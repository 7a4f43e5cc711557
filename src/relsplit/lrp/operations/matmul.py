"""A matrix product: by a parameter a layer, of two activations attention weights times values, or the like."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.lrp.graph.tracing import UnsupportedModelError, describe
from relsplit.lrp.layers.product import Product
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Operation, Passed, Values, supported, where_supported
from relsplit.lrp.promise import promises_conservation
from relsplit.lrp.rules.rule import Rule


@dataclass(frozen=True)
class MatrixProduct:
    """Each receiving factor takes an equal part of the relevance, by a rule whose weights are the other factor."""

    node: fx.Node
    evaluate: Evaluate
    factors: tuple[fx.Node, fx.Node]
    weights: fx.Node | None  # the factor that holds attention weights
    receivers: tuple[fx.Node, ...]
    nonnegative: frozenset[fx.Node]
    rule: Rule

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return self.receivers

    @property
    def conserves(self) -> bool:
        return promises_conservation(self.rule)

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        known = {source: values.of(source) for source in self.node.all_input_nodes}
        supports = {receiver: values.support(receiver) for receiver in self.receivers}
        return self.evaluate(*args, **kwargs), (known, supports)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        known, supports = saved
        part = relevance / len(self.receivers)
        return [(receiver, self._propagate(known, supports[receiver], receiver, part)) for receiver in self.receivers]

    def _propagate(
        self, known: dict[fx.Node, Any], support: Tensor | None, receiver: fx.Node, relevance: Tensor
    ) -> Tensor:
        support = None if support is None else support.to(relevance.dtype)
        h = where_supported(known[receiver].to(relevance.dtype), support)
        nonnegative = receiver in self.nonnegative
        layer = self._layer(known, receiver)
        return self.rule.propagate(layer, h, relevance, nonnegative=nonnegative, support=support)

    def _layer(self, known: dict[fx.Node, Any], receiver: fx.Node) -> Product:
        other = self.factors[0] if receiver is self.factors[1] else self.factors[1]

        def function(weights: Tensor, h: Tensor) -> Tensor:
            changed = {**known, receiver: h, other: weights}
            args: Any = fx.node.map_arg(self.node.args, changed.__getitem__)
            result: Tensor = self.evaluate(*args, **fx.node.map_arg(self.node.kwargs, changed.__getitem__))
            return result

        return Product(function, known[other])

    def support(self, values: Values) -> Tensor | None:
        known = {source: values.of(source) for source in self.node.all_input_nodes}
        reached: Tensor | None = None
        for receiver in self.receivers:
            support = values.support(receiver)
            if support is None:
                return None
            seen = self._layer(known, receiver).reach(support)
            reached = seen if reached is None else reached | seen
        return supported(reached)


@OPERATIONS.register("matmul")
def matrix_product(node: fx.Node, context: Context) -> Operation | None:
    """Build a product by a constant with the layer's rule, one of two activations as the option ``attention`` says."""
    factors = tuple(source for source in node.all_input_nodes if source not in context.facts.sizes)
    sources = context.sources(node)
    if len(factors) != 2:
        if len(factors) == 1:
            raise UnsupportedModelError(f"{describe(node)} multiplies an activation by itself: no rule is known for it")
        return None
    receivers, rule, weights = sources, context.rule(node), None
    if len(sources) == 2:
        rule = context.options.attention.rule
        signals = tuple(source for source in sources if not context.facts.is_attention(source))
        if len(signals) == 1:
            weights = next(source for source in sources if source is not signals[0])
            receivers = sources if context.options.attention.to_weights else signals
    nonnegative = frozenset(receiver for receiver in receivers if receiver in context.facts.nonnegative)
    return MatrixProduct(node, context.evaluate(node), (factors[0], factors[1]), weights, receivers, nonnegative, rule)
