"""Max pooling: as an average over each window, or the winner takes all."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.layers import binding
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.linear import Linear, linear
from relsplit.lrp.operations.operation import Evaluate, Passed, Values, supported


@dataclass(frozen=True)
class Winner:
    """The winner of each window takes all."""

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
        return self.evaluate(*args, **kwargs), (values.of(self.source), values.support(self.source), args[1:], kwargs)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        h, support, args, kwargs = saved
        if support is not None:
            h = h.masked_fill(support == 0, -torch.inf)
        with torch.enable_grad():
            variable = (
                h.to(relevance.dtype).requires_grad_() if h.dtype != relevance.dtype else h.detach().requires_grad_()
            )
            (result,) = torch.autograd.grad(self.evaluate(variable, *args, **kwargs), variable, relevance)
        return [(self.source, result)]

    def support(self, values: Values) -> Tensor | None:
        support = values.support(self.source)
        if support is None:
            return None
        args, kwargs = values.arguments(self.node)
        return supported(self.evaluate(support, *args[1:], **kwargs) > 0)


@OPERATIONS.register("max")
def max_pool(node: fx.Node, context: Context) -> Linear | Winner | None:
    """Build max pooling as the option ``max_pool`` says."""
    choice = context.options.max_pool
    if choice == "winner":
        return Winner(node, context.evaluate(node), context.sources(node)[0])
    module, name = context.module(node), context.name(node)
    bind = binding.bind_average_over_max_window(name, module, two_by_two=choice == "average_2x2")
    return linear(node, context, bind, covers_input=choice != "average_2x2")
