"""Reshaping, slicing, padding, concatenation: relevance follows the entries to where they came from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Passed, Values, supported


@dataclass(frozen=True)
class IndexMap:
    """Every entry of the output is an entry of an input; relevance goes where the entry came from."""

    node: fx.Node
    evaluate: Evaluate
    sources: tuple[fx.Node, ...]
    constants: tuple[fx.Node, ...]
    compute: Callable[[Callable[[fx.Node], Any]], Any]  # the value as a function of sources and constants

    @property
    def conserves(self) -> bool:
        return True

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        output = self.evaluate(*args, **kwargs)
        layouts = [(values.of(source).shape, values.of(source).stride()) for source in self.sources]
        return output, (layouts, {node: values.of(node) for node in self.constants})

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        layouts, constants = saved
        # The transpose of an index map does not depend on its input's values, so none were kept.
        inputs = [_unwritten(shape, stride, like=relevance).requires_grad_() for shape, stride in layouts]
        known = {**constants, **dict(zip(self.sources, inputs, strict=True))}
        with torch.enable_grad():
            results = torch.autograd.grad(self.compute(known.__getitem__), inputs, relevance, materialize_grads=True)
        return list(zip(self.sources, results, strict=True))

    def support(self, values: Values) -> Tensor | None:
        known: dict[fx.Node, Any] = {node: values.of(node) for node in self.constants}
        masks, none = {}, {}
        for source in self.sources:
            mask = values.support(source)
            masks[source] = torch.ones_like(values.of(source)) if mask is None else mask
            none[source] = torch.zeros_like(masks[source])
        # What differs comes from an entry of the image's; a constant, infinite ones included, is the same in both.
        return supported(self.compute({**known, **masks}.__getitem__) != self.compute({**known, **none}.__getitem__))


def _unwritten(shape: torch.Size, stride: tuple[int, ...], like: Tensor) -> Tensor:
    """A new tensor of a layout, contiguous where the layout shares memory among entries (as ``expand`` does)."""
    if sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) + 1 != shape.numel():
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    return torch.empty_strided(shape, stride, dtype=like.dtype, device=like.device)


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
    facts, conditions = context.facts, _conditions(node, context)
    sources = tuple(source for source in read if source in facts.dependent and source not in facts.sizes | conditions)
    constants = tuple(source for source in read if source not in sources)
    return IndexMap(node, evaluate, sources, constants, compute)


def _conditions(node: fx.Node, context: Context) -> set[Any]:
    """What only says where an entry comes from, though it may depend on the image."""
    if context.name(node) == "where":
        return {node.args[1 if node.op == "call_method" else 0]}
    return {node.args[1]} if context.name(node) == "masked_fill" else set()
