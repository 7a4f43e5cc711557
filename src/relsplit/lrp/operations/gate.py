"""A product of two activations: the gated signal takes all, the gate (an attention weight) nothing."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.errors import InputError
from relsplit.lrp.graph.tracing import describe
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Operation, Passed, Values
from relsplit.lrp.operations.pass_through import pass_through


@dataclass(frozen=True)
class Gate:
    """The signal takes all. Which factor it is can depend on the sizes, if no factor is known to be a gate."""

    node: fx.Node
    evaluate: Evaluate
    factors: tuple[fx.Node, fx.Node]
    gate: fx.Node | None
    where: str

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return tuple(factor for factor in self.factors if factor is not self.gate)

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        output = self.evaluate(*args, **kwargs)
        signal = self._signal(values)
        return output, (signal, values.of(signal).shape)

    def _signal(self, values: Values) -> fx.Node:
        first, second = self.factors
        if self.gate is not None:
            return first if self.gate is second else second
        sizes = values.of(first).numel(), values.of(second).numel()
        if sizes[0] == sizes[1]:
            raise InputError(
                f"{self.where} multiplies two activations of equal shape and neither is a sigmoid or softmax gate: "
                "give the module that holds it a rule of its own in LRP(leaves={ItsClass: rule})"
            )
        return first if sizes[0] > sizes[1] else second

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        signal, shape = saved
        return [(signal, relevance.sum_to_size(shape))]


@OPERATIONS.register("multiply")
def gate(node: fx.Node, context: Context) -> Operation | None:
    """Build the product of two activations; by a constant factor relevance passes through."""
    factors = context.sources(node)
    if len(factors) != 2:
        return pass_through(node, context)
    gates = [factor for factor in factors if context.facts.is_gate(factor)]
    known = gates[0] if len(gates) == 1 else None
    return Gate(node, context.evaluate(node), (factors[0], factors[1]), known, describe(node))
