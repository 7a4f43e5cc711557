"""A copy of a network for many forward passes without gradients."""

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse

from relsplit.networks.views import shared_copy

ADDITIONS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
"""Ways to write an addition of two tensors in a traced network."""


def inference_copy(network: nn.Module) -> nn.Module:
    """Return the same function, faster: BatchNorm folded into convolutions, ReLUs in place, channels last in memory.

    Args:
        network: in eval mode; it is not changed. What ``torch.fx`` cannot trace stays as it is, but for the memory
            format. The convolutions' weights are copied, scaled.
    """
    folded: nn.Module
    try:
        folded = fuse(network)
    except Exception:  # fx runs the network's own code: anything can come out of it
        folded = shared_copy(network)
    if isinstance(folded, fx.GraphModule):
        _activate_in_place(folded)
    return folded.to(memory_format=torch.channels_last)


def _activate_in_place(network: fx.GraphModule) -> None:
    """In place where a ReLU is the only reader of a layer's output: large allocations cost as much as convolutions."""
    safe: dict[nn.ReLU, bool] = {}
    for node in network.graph.nodes:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.ReLU):
            safe[module] = safe.get(module, True) and _is_read_once(network, node.args[0])
    for relu, fresh in safe.items():
        relu.inplace = fresh


def _is_read_once(network: fx.GraphModule, source: fx.Node) -> bool:
    if len(source.users) != 1:
        return False
    if source.op == "call_module":
        return isinstance(network.get_submodule(str(source.target)), nn.Conv2d)
    # An addition in place is another name of its first summand.
    return source.target in ADDITIONS and all(isinstance(a, fx.Node) and len(a.users) == 1 for a in source.args[:1])
