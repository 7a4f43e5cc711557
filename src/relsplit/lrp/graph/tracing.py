"""The graph of a model: traced by torch.fx, in evaluation mode, and free of in-place operations."""

import functools
import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from relsplit.errors import InputError
from relsplit.lrp.graph.outputs import OutputChoice, chosen_output
from relsplit.networks.views import eval_view

TRACING = threading.Lock()
"""torch.fx patches torch.nn.Module for the time of a trace, so two traces must not overlap."""

_OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
# The result shares its argument's memory and has its shape; or shares its memory in another shape.
_SAME_SHAPE_ALIASES = {"contiguous", "detach", "dropout", "dropout2d", "alpha_dropout", "stochastic_depth"}
_VIEWS = {"view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "chunk", "split", "getitem"}
_ALIAS_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class UnsupportedModelError(InputError):
    """The model cannot be traced, or has an operation that no rule is known for."""


@dataclass(frozen=True)
class Traced:
    """A model's graph.

    Attributes:
        graph: without in-place operations, ending with the one node that is explained.
        modules: the called modules by path, all of them views in evaluation mode.
        view: the model in evaluation mode, whose tensors the graph reads by name.
        constants: tensors by name that the model itself does not hold.
    """

    graph: fx.Graph
    modules: dict[str, nn.Module]
    view: nn.Module
    constants: Mapping[str, Any] = field(default_factory=dict)


class _Tracer(fx.Tracer):
    def __init__(self, leaf_modules: tuple[type[nn.Module], ...], functions: tuple[Callable[..., Any], ...]) -> None:
        super().__init__(autowrap_functions=functions)
        self._leaf_modules = leaf_modules

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaf_modules) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module, leaves: Iterable[Any], output: OutputChoice | None = None) -> Traced:
    """Trace ``model``.

    Args:
        model: in any mode; its graph is that of evaluation mode.
        leaves: module types and functions that are kept whole.
        output: which part of the model's output is explained.

    Raises:
        UnsupportedModelError: the model's forward cannot be traced (control flow that depends on the data, ...) or an
            in-place operation writes into a view of a tensor that is used again.
        InputError: the output has no such part.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            "a TorchScript model has no Python forward to trace: hand in the original nn.Module"
        )
    leaves = tuple(leaves)
    modules = tuple(leaf for leaf in leaves if isinstance(leaf, type))
    functions = tuple(leaf for leaf in leaves if not isinstance(leaf, type))
    view = eval_view(model)
    with TRACING:
        try:
            graph = _Tracer(modules, functions).trace(view)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UnsupportedModelError(
                f"torch.fx cannot trace {type(model).__name__} ({type(error).__name__}: {reason}): name the module "
                "that does what cannot be traced in LRP(leaves={ItsClass: rule})"
            ) from error
    called = {
        str(node.target): view.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"
    }
    _make_functional(graph, called)
    _choose_output(graph, output)
    remove_unused(graph)
    return Traced(graph, called, view)


def remove_unused(graph: fx.Graph) -> None:
    """Remove nodes that nobody reads."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _choose_output(graph: fx.Graph, output: OutputChoice | None) -> None:
    end = next(node for node in reversed(graph.nodes) if node.op == "output")
    with graph.inserting_before(end):
        tracer = fx.proxy.GraphAppendingTracer(graph)
        proxy: Any = functools.partial(fx.Proxy, tracer=tracer)
        proxies: Any = fx.node.map_arg(end.args[0], proxy)
        chosen = chosen_output(proxies, output)
    if not isinstance(chosen, fx.Proxy):
        raise UnsupportedModelError(
            f"the model must return one tensor of class scores that depends on its image, not {type(chosen).__name__}"
        )
    end.args = (chosen.node,)


def module_paths(node: fx.Node) -> tuple[str, ...]:
    """Return the paths of all modules whose forward holds ``node``, the innermost last."""
    stack = (node.meta.get("nn_module_stack") or {}).items()
    return tuple(str(entry[0] if isinstance(entry, tuple) else key) for key, entry in stack)


def module_path(node: fx.Node) -> str:
    """Return the path of the innermost module whose forward holds ``node`` ("" for the model itself)."""
    return next(reversed(module_paths(node)), "")


def layer_path(node: fx.Node) -> str:
    """Return the path of the module that a node calls or, for a function, of the one that calls it."""
    return str(node.target) if node.op == "call_module" else module_path(node)


def describe(node: fx.Node) -> str:
    """Say which node this is and where, for an error message."""
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    where = module_path(node)
    return f"node '{node.name}' ({node.op} {target})" + (f" in module '{where}'" if where else "")


def size_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that are sizes and other plain Python values, not tensors."""
    sizes: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_method" and node.target in ("size", "dim", "numel", "ndimension"):
            sizes.add(node)
        elif node.op == "call_function" and node.target is getattr:
            if node.args[1] in ("shape", "ndim", "dtype", "device", "is_cuda"):
                sizes.add(node)
        elif (
            node.op in ("call_function", "call_method")
            and node.all_input_nodes
            and all(source in sizes for source in node.all_input_nodes)
        ):
            sizes.add(node)
    return sizes


def _make_functional(graph: fx.Graph, modules: dict[str, nn.Module]) -> None:
    """Replace in-place operations by their twins; whoever read the overwritten tensor later reads the new one."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    sizes = size_nodes(graph)
    # Each tensor's memory is named by the first node that had it.
    memory: dict[fx.Node, fx.Node] = {}
    inplace_modules = {path for path, module in modules.items() if getattr(module, "inplace", False)}
    for node in list(graph.nodes):
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        name = _name(node)
        is_alias = name in _SAME_SHAPE_ALIASES or (
            node.op == "call_module" and isinstance(modules[str(node.target)], _ALIAS_MODULES)
        )
        inplace = node.target in inplace_modules if node.op == "call_module" else _take_inplace(node)
        if source is not None and source not in sizes and (is_alias or inplace or name in _VIEWS):
            memory[node] = memory.get(source, source)
        if source is None or source in sizes or not inplace:
            continue
        for other in [other for other in order if other is not node and memory.get(other, other) is memory[node]]:
            later = [user for user in other.users if order[user] > order[node]]
            if later and other is not source and _name(other) in _VIEWS | _views_of(source, other):
                raise UnsupportedModelError(
                    f"{describe(node)} overwrites memory that {describe(later[0])} reads through a view: use the "
                    "out-of-place operation there"
                )
            for user in later:
                user.replace_input_with(other, node)
    for path in inplace_modules:
        setattr(modules[path], "inplace", False)  # noqa: B010  # an attribute that nn.Module does not declare


def _views_of(source: fx.Node, other: fx.Node) -> set[str]:
    """A base is as unlike its view as the view is unlike its base: name the base if a view lies between."""
    node: Any = source
    while isinstance(node, fx.Node) and node is not other:
        if _name(node) in _VIEWS:
            return {_name(other)}
        node = node.args[0] if node.args else None
    return set()


def _name(node: fx.Node) -> str:
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", ""))
    return str(node.target) if node.op == "call_method" else ""


def _take_inplace(node: fx.Node) -> bool:
    """Turn an in-place function or method into its out-of-place twin; return whether it was one."""
    if node.op == "call_method":
        name = str(node.target)
        if name.endswith("_") and not name.endswith("__"):
            node.target = name[:-1]
            return True
        return False
    if node.op != "call_function":
        return False
    if node.target in _OUT_OF_PLACE:
        node.target = _OUT_OF_PLACE[node.target]
        return True
    name = _name(node)
    if name.endswith("_") and not name.endswith("__") and hasattr(torch, name[:-1]):
        node.target = getattr(torch, name[:-1])
        return True
    if node.kwargs.get("inplace"):
        node.update_kwarg("inplace", False)
        return True
    if name in _INPLACE_ARGUMENT and len(node.args) > _INPLACE_ARGUMENT[name] and node.args[_INPLACE_ARGUMENT[name]]:
        node.update_arg(_INPLACE_ARGUMENT[name], False)
        return True
    return False


# Functions of torch.nn.functional whose ``inplace`` may be given by position.
_INPLACE_ARGUMENT = {
    "relu": 1,
    "relu6": 1,
    "silu": 1,
    "hardswish": 1,
    "hardsigmoid": 1,
    "mish": 1,
    "leaky_relu": 2,
    "elu": 2,
    "dropout": 3,
    "hardtanh": 3,
    "threshold": 3,
}
