"""Activation, normalisation, dropout, scaling by constants: relevance goes through unchanged."""

import operator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.compilation import Compilation
from relsplit.lrp.operations.operation import Evaluate, Passed, Values

_DIVISIONS = (operator.truediv, "div", "divide")


@dataclass(frozen=True)
class PassThrough:
    """Relevance goes through unchanged."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return (self.source,)

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), values.of(self.source).shape

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        return [(self.source, relevance.sum_to_size(saved))]

    def support(self, values: Values) -> Tensor | None:
        return values.support(self.source)


@OPERATIONS.register("pass")
def pass_through(node: fx.Node, compilation: Compilation) -> PassThrough | None:
    """Pass relevance to the one input that depends on the image."""
    sources = compilation.sources(node)
    return PassThrough(node, compilation.evaluate(node), sources[0]) if len(sources) == 1 else None


@OPERATIONS.register("divide")
def linear_in_one(node: fx.Node, compilation: Compilation) -> PassThrough | None:
    """Pass relevance through arithmetic with a constant; a quotient is linear in its numerator only."""
    if node.target in _DIVISIONS and node.args[0] not in compilation.sources(node):
        return None
    return pass_through(node, compilation)
