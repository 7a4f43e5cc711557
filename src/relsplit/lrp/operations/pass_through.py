"""Activation, normalisation, dropout, scaling by constants: relevance goes through unchanged."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Passed, Values


@dataclass(frozen=True)
class PassThrough:
    """Relevance goes through unchanged."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return (self.source,)

    @property
    def conserves(self) -> bool:
        return True

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), values.of(self.source).shape

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        return [(self.source, relevance.sum_to_size(saved))]

    def support(self, values: Values) -> Tensor | None:
        support = values.support(self.source)
        return None if support is None else support.broadcast_to(values.of(self.node).shape)


@OPERATIONS.register("pass")
def pass_through(node: fx.Node, context: Context) -> PassThrough | None:
    """Pass relevance to the one input that depends on the image."""
    sources = context.sources(node)
    return PassThrough(node, context.evaluate(node), sources[0]) if len(sources) == 1 else None


@OPERATIONS.register("divide")
def quotient(node: fx.Node, context: Context) -> PassThrough | None:
    """Pass relevance to the numerator of a quotient: what an activation is divided by only scales it."""
    numerator = node.args[0]
    if isinstance(numerator, fx.Node) and numerator in context.sources(node):
        return PassThrough(node, context.evaluate(node), numerator)
    return pass_through(node, context)
