"""The function that computes a node's value from its arguments."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.graph.kinds import torch_name
from relsplit.lrp.graph.tracing import Traced

Function = Callable[..., Any]


def function_of(node: fx.Node, traced: Traced, untraced: bool = False) -> Function:
    """Return the function of ``node``.

    Args:
        node: of the graph of ``traced``.
        traced: the model.
        untraced: the node is code that was not traced; it may rely on the memory format that the model itself would
            have given it, so it is handed contiguous tensors.
    """
    function = _function(node, traced)
    return _on_contiguous(function) if untraced else function


def _function(node: fx.Node, traced: Traced) -> Function:
    if node.op == "call_module":
        return traced.modules[str(node.target)].forward
    if node.op == "get_attr":
        return _attribute_reader(traced, str(node.target))
    if node.op == "call_method":
        return _method_caller(str(node.target))
    function: Function = node.target  # type: ignore[assignment]  # op call_function: its target is the function
    if torch_name(function) in ("view", "_unsafe_view"):  # as below
        return torch.ops.aten.reshape.default
    return function


def _method_caller(name: str) -> Function:
    if name == "view":  # the engine's tensors may be channels last in memory, where the model's own were not
        name = "reshape"

    def call(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(tensor, name)(*args, **kwargs)

    return call


def _on_contiguous(function: Function) -> Function:
    def contiguous(value: Any) -> Any:
        return value.contiguous() if isinstance(value, Tensor) else value

    def call(*args: Any, **kwargs: Any) -> Any:
        mapped: Any = fx.node.map_aggregate((args, kwargs), contiguous)
        return function(*mapped[0], **mapped[1])

    return call


def _attribute_reader(traced: Traced, path: str) -> Function:
    def read() -> Tensor:
        if path in traced.constants:
            return traced.constants[path]  # type: ignore[no-any-return]
        value: Any = traced.view
        for name in path.split("."):
            value = getattr(value, name)
        return value  # type: ignore[no-any-return]

    return read
