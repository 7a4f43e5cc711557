"""What a node of the graph does with relevance on its way back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from reslrp.errors import InputError
from reslrp.lrp.layers import LinearLayer
from reslrp.lrp.rules.rule import Rule
from reslrp.lrp.splitting.splitting import Splitting

Evaluate = Callable[..., Any]
Passed = list[tuple[fx.Node, Tensor]]


class Values(Protocol):
    """The tensors of a forward pass under way."""

    def arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of ``node`` with tensors in place of nodes."""

    def of(self, node: fx.Node) -> Any:
        """Return the value of ``node``."""

    def support(self, node: fx.Node) -> Tensor | None:
        """Return where ``node`` is no padding (zeros and ones like its value), or None if nothing was padded."""


class Operation(Protocol):
    """One node's two directions."""

    def forward(self, values: Values) -> tuple[Any, Any]:
        """Return the node's value and what ``backward`` needs of it."""

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        """Return the relevance of the node's inputs."""


@dataclass(frozen=True)
class PassThrough:
    """Activation, normalisation, dropout, scaling by constants: relevance goes through unchanged."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), values.of(self.source).shape

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        return [(self.source, relevance.sum_to_size(saved))]

    def support(self, values: Values) -> Tensor | None:
        """Return where the output is no padding, or None if nothing was padded."""
        return values.support(self.source)


@dataclass(frozen=True)
class IndexMap:
    """Reshaping, slicing, padding, concatenation: relevance follows the entries to where they came from."""

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
        """Return where the output is no padding, or None if nothing was padded."""
        known: dict[fx.Node, Any] = {node: values.of(node) for node in self.constants}
        for source in self.sources:
            mask = values.support(source)
            known[source] = torch.ones_like(values.of(source)) if mask is None else mask
        result: Tensor = self.compute(known.__getitem__)
        return result


@dataclass(frozen=True)
class Linear:
    """A layer with a rule."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node
    bind: Callable[[Values], LinearLayer]
    rule: Rule
    nonnegative: bool

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        saved = (values.of(self.source), self.bind(values), values.support(self.source))
        return self.evaluate(*args, **kwargs), saved

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        h, layer, support = saved
        h = h.to(relevance.dtype)
        result = self.rule.propagate(layer, h, relevance, nonnegative=self.nonnegative, support=support)
        return [(self.source, result)]


@dataclass(frozen=True)
class Winner:
    """Max pooling, the winner takes all."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), (values.of(self.source), args[1:], kwargs)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        h, args, kwargs = saved
        with torch.enable_grad():
            variable = (
                h.to(relevance.dtype).requires_grad_() if h.dtype != relevance.dtype else h.detach().requires_grad_()
            )
            (result,) = torch.autograd.grad(self.evaluate(variable, *args, **kwargs), variable, relevance)
        return [(self.source, result)]


LeafRule = Callable[[Callable[..., Any], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Leaf:
    """A module or function that its user gave a rule of its own."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node
    rule: LeafRule

    def forward(self, values: Values) -> tuple[Any, Any]:
        known = {source: values.of(source) for source in self.node.all_input_nodes}

        def function(h: Tensor) -> Any:
            changed = {**known, self.source: h}
            args = fx.node.map_arg(self.node.args, changed.__getitem__)
            return self.evaluate(*args, **fx.node.map_arg(self.node.kwargs, changed.__getitem__))

        return function(known[self.source]), (known[self.source], function)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        h, function = saved
        result = self.rule(function, h.to(relevance.dtype), relevance)
        if result.shape != h.shape:
            raise InputError(
                f"leaves: the rule of '{self.node.target}' returned relevance of shape {tuple(result.shape)} for an "
                f"input of shape {tuple(h.shape)}: return one value per input entry"
            )
        return [(self.source, result)]


@dataclass(frozen=True)
class Addition:
    """Two activations meet: relevance is split between them."""

    node: fx.Node
    evaluate: Evaluate
    skip: fx.Node
    branch: fx.Node
    negated: fx.Node | None
    splitting: Splitting | None  # None: everything to the branch

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        skip, branch = values.of(self.skip), values.of(self.branch)
        share: Tensor | float = 0.0
        if self.splitting is not None:
            wide = torch.promote_types(torch.promote_types(skip.dtype, branch.dtype), torch.float32)
            signed_skip = (-skip if self.negated is self.skip else skip).to(wide)
            signed_branch = (-branch if self.negated is self.branch else branch).to(wide)
            share = self.splitting.share(signed_skip, signed_branch)
        return self.evaluate(*args, **kwargs), (share, skip.shape, branch.shape)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        share, skip_shape, branch_shape = saved
        if isinstance(share, float) and share == 0:
            return [(self.branch, relevance.sum_to_size(branch_shape))]
        down_skip = relevance * share
        down_branch = relevance - down_skip
        return [(self.skip, down_skip.sum_to_size(skip_shape)), (self.branch, down_branch.sum_to_size(branch_shape))]


@dataclass(frozen=True)
class Gate:
    """A product of two activations: the gated signal takes all, the gate (an attention weight) nothing."""

    node: fx.Node
    evaluate: Evaluate
    sources: tuple[fx.Node, fx.Node]
    gate: fx.Node | None
    where: str

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        output = self.evaluate(*args, **kwargs)
        signal = self._signal(values)
        return output, (signal, values.of(signal).shape)

    def _signal(self, values: Values) -> fx.Node:
        first, second = self.sources
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


@dataclass(frozen=True)
class Plain:
    """Sizes, constants, gates' innards without an image below: evaluated, never reached by relevance."""

    node: fx.Node
    evaluate: Evaluate

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        return self.evaluate(*args, **kwargs), None

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        return []
