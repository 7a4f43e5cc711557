"""The softmax of attention weights, where these receive relevance."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Passed, Values
from relsplit.lrp.operations.pass_through import PassThrough, pass_through


@dataclass(frozen=True)
class Softmax:
    """The softmax as AttnLRP has it: its Taylor expansion's linear part (Achtibat et al. 2024, Eq. 13)."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node
    dim: int

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return (self.source,)

    @property
    def conserves(self) -> bool:
        return False

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        output = self.evaluate(*args, **kwargs)
        return output, (values.of(self.source), output)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        scores, weights = saved
        result = scores * (relevance - weights * relevance.sum(self.dim, keepdim=True))
        return [(self.source, torch.where(weights > 0, result, 0))]

    def support(self, values: Values) -> Tensor | None:
        return None


@OPERATIONS.register("softmax")
def softmax(node: fx.Node, context: Context) -> Softmax | PassThrough | None:
    """Build the softmax of attention weights that receive relevance; any other one is an activation."""
    if not context.options.attention.to_weights:
        return pass_through(node, context)
    module: Any = context.module(node)
    dim = module.dim if module is not None else node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if not isinstance(dim, int):
        return None
    return Softmax(node, context.evaluate(node), context.sources(node)[0], dim)
