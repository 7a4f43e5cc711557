"""A copy of a network for many forward passes without gradients."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from relsplit.errors import InputError, is_of_a_signal
from relsplit.networks.answer import is_same
from relsplit.networks.fused_convolutions import ADDITIONS, FusedConvolution, can_be_fused, fuse_convolutions
from relsplit.networks.steps import Steps, UncompiledGraph, emptied
from relsplit.networks.tracing import traced
from relsplit.networks.views import is_as_written, shared_copy

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)
Precision = Literal["fp32", "bf16", "fp16"]
"""What a network computes in: fp32 leaves it in the precision that it has."""

_FOLDING: dict[tuple[type[nn.Module], type[nn.Module]], Callable[[Any, Any], nn.Module]] = {
    (nn.Conv1d, nn.BatchNorm1d): fuse_conv_bn_eval,
    (nn.Conv2d, nn.BatchNorm2d): fuse_conv_bn_eval,
    (nn.Conv3d, nn.BatchNorm3d): fuse_conv_bn_eval,
    (nn.Linear, nn.BatchNorm1d): fuse_linear_bn_eval,
}
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def inference_copy(
    network: nn.Module, precision: Precision = "fp32", answered: "tuple[Tensor, Tensor] | None" = None
) -> nn.Module:
    """Return the same function, faster: BatchNorm folded, activations in place, channels last in memory.

    The copy is of the network as it is now: make it for one call, or for as long as nothing changes.

    Args:
        network: in eval mode; it is not changed. One that has forward hooks or replaced methods, that ``torch.fx``
            cannot trace, or whose trace does not answer as it was ``answered``, stays as it is but for the memory
            format. The convolutions' weights are copied, scaled.
        precision: bf16 or fp16 round weights and activations to 8 and 11 significant bits. The copy takes images in
            the network's precision or in its own, and returns its output in theirs.
        answered: images and what the network answers to them, which the copy has to answer, too (before it is rounded);
            None where nothing is known.

    Returns:
        The copy. On a CPU it can be neither moved to another device nor converted.
    """
    faster: nn.Module | None = _rewritten(network, precision, answered) if is_as_written(network) else None
    if faster is None:
        faster = shared_copy(network, keep_in_place=True).to(memory_format=torch.channels_last)
        faster = faster if precision == "fp32" else faster.to(_HALF[precision])
    return faster if precision == "fp32" else _InHalf(faster, _HALF[precision])


def _rewritten(network: nn.Module, precision: Precision, answered: "tuple[Tensor, Tensor] | None") -> Steps | None:
    """The network's trace, folded, fused and in place; None where fx cannot trace it, or it answers something else."""
    try:
        graph = traced(network, UncompiledGraph)
    except Exception as error:  # fx runs the network's own code: anything can come out of it
        if is_of_a_signal(error):
            raise
        return None
    _fold_norms(graph)
    graph = graph.to(memory_format=torch.channels_last)
    if precision != "fp32":
        if not _answers(Steps(graph), answered):  # before rounding hides it
            return None
        graph = graph.to(_HALF[precision])
    if can_be_fused(graph):
        fuse_convolutions(graph)
    _activate_in_place(graph)
    steps = Steps(graph)
    emptied(graph)
    return steps if precision != "fp32" or _answers(steps, answered) else None


def _fold_norms(network: fx.GraphModule) -> None:
    """Make each BatchNorm a part of the convolution or linear layer whose output it alone reads."""
    for node in list(network.graph.nodes):
        source = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(source, fx.Node) or source.op != "call_module":
            continue
        layer, norm = (network.get_submodule(str(each.target)) for each in (source, node))
        folding = _FOLDING.get((type(layer), type(norm)))
        if folding is None or len(source.users) != 1 or not norm.track_running_stats:
            continue
        name = f"folded_{node.name}"
        network.add_module(name, folding(layer, norm))
        with network.graph.inserting_before(node):
            folded = network.graph.call_module(name, source.args, source.kwargs)
        node.replace_all_uses_with(folded)
        network.graph.erase_node(node)
        network.graph.erase_node(source)
    network.delete_all_unused_submodules()


def _answers(steps: nn.Module, answered: "tuple[Tensor, Tensor] | None") -> bool:
    """Whether the copy answers what the network has answered, where that is known."""
    if answered is None:
        return True
    images, answer = answered
    try:
        with torch.no_grad():
            found = steps(images.contiguous(memory_format=torch.channels_last))
    except Exception as error:  # what fx has recorded need not run
        if is_of_a_signal(error):
            raise
        return False
    return is_same(found, answer)


def check_precision(precision: Precision, device: torch.device, where: str = "") -> None:
    """Check that half precision is worth it on a device; ``where`` is the group of the setting, such as ``task.``.

    Raises:
        InputError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise InputError(
            f"{where}precision=fp16 is for GPUs, a CPU is slower with it than with fp32: choose bf16 or fp32"
        )


def half_precision(network: nn.Module) -> torch.dtype | None:
    """Return the half precision in which an inference copy computes, None for other networks."""
    return network.dtype if isinstance(network, _InHalf) else None


class _InHalf(nn.Module):
    """Rounds what goes in; what comes out is handed on in the precision of what went in."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._network = network
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self._network(images.to(self.dtype, memory_format=torch.channels_last))
        return output.to(images.dtype)


def _activate_in_place(network: fx.GraphModule) -> None:
    """In place where an activation alone reads a layer's output: large allocations cost as much as convolutions."""
    safe: dict[nn.Module, bool] = {}
    for node in network.graph.nodes:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _ACTIVATIONS):
            safe[module] = safe.get(module, True) and _is_read_once(network, node.args[0])
    for activation, fresh in safe.items():
        setattr(activation, "inplace", fresh)  # noqa: B010 (the attribute is not nn.Module's)


def _is_read_once(network: fx.GraphModule, source: fx.Node) -> bool:
    if len(source.users) != 1:
        return False
    if source.op == "call_module":
        return isinstance(network.get_submodule(str(source.target)), (nn.Conv2d, FusedConvolution))
    # An addition in place is another name of its first summand.
    return source.target in ADDITIONS and all(isinstance(a, fx.Node) and len(a.users) == 1 for a in source.args[:1])
