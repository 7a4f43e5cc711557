"""The values of a network that every path of gradients from its answer to the image passes."""

import heapq
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node


def with_module_outputs(network: nn.Module, images: Tensor) -> tuple[Any, list[Tensor]]:
    """Return what ``network`` answers, and what its modules returned, in the order of their calls.

    What a later step wrote over is returned as it is then, with the gradient of what was written.

    Args:
        network: one that this call alone uses.
        images: (N, C, H, W).
    """
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            found.append(output)

    modules = [module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule)]
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        return network(images), found
    finally:
        for handle in handles:
            handle.remove()


def passed_by_all(output: Tensor) -> list[Node]:
    """Return the nodes of the autograd graph that all gradients of ``output`` pass, the nearest to it first.

    Nothing but the image may require gradients. The list ends with the node that accumulates the image's.
    """
    start = output.grad_fn
    assert start is not None  # the answer was checked to have gradients
    found, waiting, met = [], [(_order(start), id(start), start)], {start}
    while waiting:
        node = heapq.heappop(waiting)[2]
        if not waiting:
            found.append(node)
        for source, _ in node.next_functions:
            if source is not None and source not in met:
                met.add(source)
                heapq.heappush(waiting, (_order(source), id(source), source))
    return found


def _order(node: Node) -> float:
    """Later operations come first; what accumulates gradients, which PyTorch numbers highest, comes last."""
    return float("inf") if hasattr(node, "variable") and not node.next_functions else -node._sequence_nr()
