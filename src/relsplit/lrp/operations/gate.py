"""An elementwise product of two activations: a gated signal takes all, its gate nothing; equals share."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Operation, Passed, Values
from relsplit.lrp.operations.pass_through import pass_through


@dataclass(frozen=True)
class Gate:
    """The signal takes all: the factor that is no gate or, if none is known to be one, the greater factor.

    Two factors of equal size take a half each (the uniform rule of Achtibat et al. 2024).
    """

    node: fx.Node
    evaluate: Evaluate
    factors: tuple[fx.Node, fx.Node]
    gate: fx.Node | None

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return tuple(factor for factor in self.factors if factor is not self.gate)

    @property
    def conserves(self) -> bool:
        return True

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), [(signal, values.of(signal).shape) for signal in self._signals(values)]

    def _signals(self, values: Values) -> tuple[fx.Node, ...]:
        first, second = self.factors
        if self.gate is not None:
            return self.sources
        sizes = values.of(first).numel(), values.of(second).numel()
        if sizes[0] == sizes[1]:
            return self.factors
        return (first,) if sizes[0] > sizes[1] else (second,)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        if len(saved) == 1:
            ((signal, shape),) = saved
            return [(signal, relevance.sum_to_size(shape))]
        return [(signal, (relevance / len(saved)).sum_to_size(shape)) for signal, shape in saved]

    def support(self, values: Values) -> Tensor | None:
        shape = values.of(self.node).shape
        supports = [values.support(signal) for signal in self._signals(values)]
        known = [support.broadcast_to(shape) for support in supports if support is not None]
        return torch.stack(known).amax(0) if len(known) == len(supports) else None


@OPERATIONS.register("multiply")
def gate(node: fx.Node, context: Context) -> Operation | None:
    """Build the product of two activations; by a constant factor relevance passes through."""
    factors = context.sources(node)
    if len(factors) != 2:
        return pass_through(node, context)
    gates = [factor for factor in factors if context.facts.is_gate(factor)]
    known = gates[0] if len(gates) == 1 else None
    return Gate(node, context.evaluate(node), (factors[0], factors[1]), known)
