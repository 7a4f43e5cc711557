"""Sizes, constants, the inside of gates: evaluated, not reached by relevance."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.lrp.graph.tracing import UnsupportedModelError
from relsplit.lrp.operations.operation import Evaluate, Passed, Values


@dataclass(frozen=True)
class Plain:
    """A node that relevance never reaches."""

    node: fx.Node
    evaluate: Evaluate

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return ()

    @property
    def conserves(self) -> bool:
        return True

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), None

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        return []

    def support(self, values: Values) -> Tensor | None:
        return None


@dataclass(frozen=True)
class Refused(Plain):
    """A node without a rule, which relevance reaches only if the images have unusual sizes."""

    reason: str

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        raise UnsupportedModelError(self.reason)
