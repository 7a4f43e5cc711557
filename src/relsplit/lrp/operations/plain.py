"""Sizes, constants, the inside of gates: evaluated, never reached by relevance."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.lrp.operations.operation import Evaluate, Passed, Values


@dataclass(frozen=True)
class Plain:
    """A node that relevance never reaches."""

    node: fx.Node
    evaluate: Evaluate
    sources: tuple[fx.Node, ...] = ()

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), None

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        return []
