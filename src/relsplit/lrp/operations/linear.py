"""Layers that are linear in their input: convolution, fully connected, average pooling, interpolation."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.lrp.layers import binding
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Passed, Values, supported, where_supported
from relsplit.lrp.promise import promises_conservation
from relsplit.lrp.rules.rule import Rule


@dataclass(frozen=True)
class Linear:
    """A layer with a rule."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node
    bind: binding.Bind
    rule: Rule
    nonnegative: bool
    covers_input: bool  # no entry lies outside of all windows

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return (self.source,)

    @property
    def conserves(self) -> bool:
        return self.covers_input and promises_conservation(self.rule)

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        layer = self.bind(*args, **kwargs)
        return self.evaluate(*args, **kwargs), (values.of(self.source), layer, values.support(self.source))

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        h, layer, support = saved
        support = None if support is None else support.to(relevance.dtype)
        h = where_supported(h.to(relevance.dtype), support)
        result = self.rule.propagate(layer, h, relevance, nonnegative=self.nonnegative, support=support)
        return [(self.source, result)]

    def support(self, values: Values) -> Tensor | None:
        support = values.support(self.source)
        if support is None:
            return None
        args, kwargs = values.arguments(self.node)
        return supported(self.bind(*args, **kwargs).reach(support))


def linear(node: fx.Node, context: Context, bind: binding.Bind, covers_input: bool = True) -> Linear | None:
    """Build the operation of a layer; None where the image enters it elsewhere than as the first argument."""
    source = context.sources(node)[0]
    if source is not node.args[0]:
        return None
    nonnegative = source in context.facts.nonnegative
    return Linear(node, context.evaluate(node), source, bind, context.rule(node), nonnegative, covers_input)


@OPERATIONS.register("convolution")
def convolution(node: fx.Node, context: Context) -> Linear | None:
    """Build a convolution, transposed or not."""
    module = context.module(node)
    if module is not None:
        return linear(node, context, binding.bind_convolution_module(module))
    return linear(node, context, binding.bind_convolution_function(context.name(node)))


@OPERATIONS.register("dense")
def dense(node: fx.Node, context: Context) -> Linear | None:
    """Build a fully connected layer."""
    module = context.module(node)
    return linear(node, context, binding.bind_dense_function() if module is None else binding.bind_dense(module))


@OPERATIONS.register("mean")
def mean(node: fx.Node, context: Context) -> Linear | None:
    """Build average pooling, a mean, a sum, or interpolation."""
    evaluate = context.evaluate(node)
    bicubic = "bicubic" in context.name(node) or getattr(context.module(node), "mode", "") == "bicubic"
    return linear(node, context, binding.bind_bicubic(evaluate) if bicubic else binding.bind_map(evaluate))
