"""Rewrite a network so that captum's module hooks see every activation, pooling and addition, each exactly once.

captum hooks modules. torchvision's ResNets call one ReLU module several times, activate in place and add with ``+=``;
functional activations and additions have no module at all. captum then either stops, or attributes wrongly without a
word: the relevance of a skip connection is counted twice at each addition, a functional ReLU is taken for linear.
"""

from typing import Any

import torch
import torch.nn.functional as F
from captum.attr._utils.custom_modules import Addition_Module
from torch import fx, nn

from relsplit.errors import InputError, is_of_a_signal
from relsplit.networks.fused_convolutions import ADDITIONS
from relsplit.networks.tracing import traced
from relsplit.networks.views import shared_copy

RELUS: tuple[Any, ...] = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
POOLINGS: dict[Any, type[nn.Module]] = {
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    F.avg_pool2d: nn.AvgPool2d,
    F.max_pool2d: nn.MaxPool2d,
}
# Do nothing in eval mode, and captum has no rule for some of them.
IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d)


def one_module_per_step(network: nn.Module) -> fx.GraphModule:
    """``network`` as a graph in which every call of a module has its own, and activations and additions are modules.

    Args:
        network: in eval mode; its parameters and buffers are shared with the result, and modules used once are, too.

    Returns:
        The same function. Additions of two tensors are captum's ``Addition_Module``, ReLUs ``nn.ReLU`` (not in place).

    Raises:
        InputError: ``torch.fx`` cannot trace the network.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise InputError(
            f"{type(network).__name__} has a part compiled by TorchScript, whose steps captum does not see: use an "
            "explainer that needs no tracing (integrated_gradients, input_x_gradient)"
        )
    try:
        steps = traced(network)
    except Exception as error:  # fx runs the network's own code: anything can come out of it
        if is_of_a_signal(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"torch.fx cannot trace {type(network).__name__} ({reason}): use an explainer that needs no tracing "
            "(integrated_gradients, input_x_gradient, grad_cam) or make the network's steps independent of its input"
        ) from error
    called: set[str] = set()
    for node in list(steps.graph.nodes):
        if node.op == "call_module":
            module = steps.get_submodule(node.target)
            if isinstance(module, IDENTITIES):
                _replace_by(steps, node, node.args[0])
            elif isinstance(module, nn.Flatten):
                # captum has no rule for the module; the function is passed through.
                with steps.graph.inserting_before(node):
                    flat = steps.graph.call_function(torch.flatten, (node.args[0], module.start_dim, module.end_dim))
                _replace_by(steps, node, flat)
            elif node.target in called:
                _replace(steps, node, shared_copy(module), node.args)
            called.add(node.target)
        elif node.target in RELUS:
            _replace(steps, node, nn.ReLU(), node.args[:1])
        elif node.target in POOLINGS and len(node.args) <= 5:  # further on, function and module differ in their order
            _replace(steps, node, POOLINGS[node.target](*node.args[1:], **node.kwargs), node.args[:1])
        elif node.target in ADDITIONS and len(node.args) == 2 and not node.kwargs and _all_nodes(node.args):
            _replace(steps, node, Addition_Module(), node.args)
    steps.delete_all_unused_submodules()
    steps.graph.lint()
    steps.recompile()
    return steps


def _all_nodes(arguments: tuple[Any, ...]) -> bool:
    return all(isinstance(argument, fx.Node) for argument in arguments)


def _replace(steps: fx.GraphModule, node: fx.Node, module: nn.Module, arguments: Any) -> None:
    name = f"rewritten.{node.name}"
    steps.add_submodule(name, module)
    with steps.graph.inserting_before(node):
        call = steps.graph.call_module(name, args=arguments)
    _replace_by(steps, node, call)


def _replace_by(steps: fx.GraphModule, node: fx.Node, other: Any) -> None:
    node.replace_all_uses_with(other)
    steps.graph.erase_node(node)
