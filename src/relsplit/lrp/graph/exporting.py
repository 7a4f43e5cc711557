"""The graph of a model by torch.export: for one shape of images, whatever Python its forward is made of."""

import operator
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from relsplit.lrp.graph.outputs import OutputChoice, chosen_output
from relsplit.lrp.graph.tracing import TRACING, Traced, UnsupportedModelError, remove_unused
from relsplit.networks.views import eval_view, shared_copy, unwrapped


def export(model: nn.Module, images: Tensor, output: OutputChoice | None) -> Traced:
    """Return the graph of ``model`` for images of exactly this shape, type and device.

    Args:
        model: in any mode; its graph is that of evaluation mode.
        images: (N, C, H, W).
        output: which part of the model's output is explained.

    Raises:
        UnsupportedModelError: torch.export cannot follow the model's forward.
        InputError: the output has no such part.
    """
    network = shared_copy(unwrapped(model))
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with TRACING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)  # a fused kernel of its own, which no rule is known for
        try:
            program = torch.export.export(network, (images,), strict=False)
            # Without a table nothing is decomposed: it only makes the graph free of in-place operations.
            module = program.run_decompositions({}).module()
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UnsupportedModelError(
                f"torch.export cannot follow {type(model).__name__} ({type(error).__name__}: {reason})"
            ) from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)
    graph: fx.Graph = module.graph
    result = next(node for node in graph.nodes if node.op == "output")
    structure = pytree.tree_unflatten(list(result.args[0]), program.call_spec.out_spec)
    proxies: Any = pytree.tree_map_only(fx.Node, _proxy, structure)
    chosen = chosen_output(proxies, output)
    if not isinstance(chosen, fx.Proxy):
        raise UnsupportedModelError(f"output: the part that is explained is a {type(chosen).__name__}, not a tensor")
    result.args = (chosen.node,)
    for node in list(graph.nodes):
        if node.op == "call_module":  # the check of the images' shape, which is made before
            graph.erase_node(node)
    remove_unused(graph)
    view = eval_view(model)
    stored = {str(node.target): node for node in graph.nodes if node.op == "get_attr"}
    constants = {path: _attribute(module, path) for path in stored if not _has(view, path)}
    return Traced(graph, {}, view, constants)


def _proxy(node: fx.Node) -> fx.Proxy:
    return fx.Proxy(node, _BeforeOutput(node.graph))


class _BeforeOutput(fx.proxy.GraphAppendingTracer):
    """Writes what a user's function does to the output in front of the graph's end."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        end = next(node for node in reversed(self.graph.nodes) if node.op == "output")
        with self.graph.inserting_before(end):
            return super().create_node(*args, **kwargs)


def _attribute(module: nn.Module, path: str) -> Any:
    return operator.attrgetter(path)(module)


def _has(module: nn.Module, path: str) -> bool:
    try:
        return isinstance(_attribute(module, path), Tensor)
    except AttributeError:
        return False
