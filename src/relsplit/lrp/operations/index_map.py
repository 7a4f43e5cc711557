"""Reshaping, slicing, padding, concatenation: relevance follows the entries to where they came from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Passed, Values


@dataclass(frozen=True)
class IndexMap:
    """Every entry of the output is an entry of an input; relevance goes where the entry came from."""

    node: fx.Node
    evaluate: Evaluate
    sources: tuple[fx.Node, ...]
    constants: tuple[fx.Node, ...]
    compute: Callable[[Callable[[fx.Node], Any]], Any]  # the value as a function of sources and constants

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        output = self.evaluate(*args, **kwargs)
        layouts = [(values.of(source).shape, values.of(source).stride()) for source in self.sources]
        return output, (layouts, {node: values.of(node) for node in self.constants})

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        layouts, constants = saved
        # The transpose of an index map does not depend on its input's values, so none were kept.
        inputs = [
            torch.empty_strided(shape, stride, dtype=relevance.dtype, device=relevance.device, requires_grad=True)
            for shape, stride in layouts
        ]
        known = {**constants, **dict(zip(self.sources, inputs, strict=True))}
        with torch.enable_grad():
            results = torch.autograd.grad(self.compute(known.__getitem__), inputs, relevance)
        return list(zip(self.sources, results, strict=True))

    def support(self, values: Values) -> Tensor | None:
        known: dict[fx.Node, Any] = {node: values.of(node) for node in self.constants}
        for source in self.sources:
            mask = values.support(source)
            known[source] = torch.ones_like(values.of(source)) if mask is None else mask
        result: Tensor = self.compute(known.__getitem__)
        return result


@OPERATIONS.register("index")
def index_map(node: fx.Node, context: Context) -> IndexMap:
    """Build the index map of a node; of one part of a split, the map from what was split."""
    evaluate = context.evaluate(node)
    parts = node.args[0]
    if isinstance(parts, fx.Node) and context.kind(parts) == "tuple":
        whole, split, index = parts, context.evaluate(parts), node.args[1]

        def compute(value: Callable[[fx.Node], Any]) -> Any:
            return split(*fx.node.map_arg(whole.args, value), **fx.node.map_arg(whole.kwargs, value))[index]

        read = whole.all_input_nodes
    else:

        def compute(value: Callable[[fx.Node], Any]) -> Any:
            return evaluate(*fx.node.map_arg(node.args, value), **fx.node.map_arg(node.kwargs, value))

        read = node.all_input_nodes
    facts = context.facts
    sources = tuple(source for source in read if source in facts.dependent and source not in facts.sizes)
    constants = tuple(source for source in read if source not in sources)
    return IndexMap(node, evaluate, sources, constants, compute)
