"""Convolutions that add and rectify while their output is still in the processor's registers (oneDNN, on CPUs)."""

import operator
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

ADDITIONS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
"""Ways to write an addition of two tensors in a traced network."""

_IN_PLACE = (operator.iadd, "add_")
_RECTIFIERS: dict[Any, tuple[str, list[float]]] = {
    **dict.fromkeys((nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), ("relu", [])),
    **dict.fromkeys((nn.ReLU6, F.relu6), ("hardtanh", [0.0, 6.0])),
}
"""oneDNN's names of what only selects, so that in float32 the same bits come out as from a pass of its own."""


def can_be_fused(network: nn.Module) -> bool:
    """Whether oneDNN computes this network's convolutions here: float32 or bfloat16, all on a CPU that it knows.

    oneDNN's ReLU makes 0 of NaN, which would hide what is wrong with a network whose weights are not finite.
    """
    kinds = {(p.device.type, p.dtype) for p in network.parameters()}
    if len(kinds) != 1 or not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    known = {("cpu", torch.float32)}, {("cpu", torch.bfloat16)}
    if kinds not in known or (kinds == known[1] and not torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    return all(bool(tensor.isfinite().all()) for tensor in chain(network.parameters(), network.buffers()))


def fuse_convolutions(network: fx.GraphModule) -> None:
    """Replace each convolution, in place, together with an addition and a ReLU that alone read its output.

    Its weights are laid out as oneDNN reads them, once for images of one shape; ``nn.Conv2d`` does so in every call.

    Args:
        network: traced, in eval mode, one that :func:`can_be_fused`; it can then be neither moved nor differentiated.
    """
    for node in list(network.graph.nodes):
        convolution = _module(network, node)
        if type(convolution) is not nn.Conv2d or convolution.padding_mode != "zeros":
            continue
        if isinstance(convolution.padding, str) or len(node.args) != 1 or node.kwargs:
            continue
        last, inputs = node, [node.args[0]]
        # In bfloat16 oneDNN adds nothing to the output of a grouped convolution.
        summand = _summand(network, node) if convolution.groups == 1 else None
        if summand is not None:
            last, inputs = next(iter(last.users)), [node.args[0], summand]
        rectifier = None
        if len(last.users) == 1:
            reader = next(iter(last.users))
            rectifier = _RECTIFIERS.get(type(_module(network, reader)) if reader.op == "call_module" else reader.target)
            last = last if rectifier is None else reader
        name = f"fused_{node.name}"
        network.add_module(name, FusedConvolution(convolution, rectifier))
        with network.graph.inserting_after(last):
            last.replace_all_uses_with(fused := network.graph.call_module(name))
        fused.args = tuple(inputs)
        while last is not node:  # from the last one to the convolution, whose reader is erased by then
            before = node if node in last.all_input_nodes else last.all_input_nodes[0]
            network.graph.erase_node(last)
            last = before
        network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()


def _module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _summand(network: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """What is added to the node's output, where nothing else reads that output and the other stays as it is.

    The convolution then runs where the addition did: what lies between must not write over what it reads.
    """
    if len(node.users) != 1:
        return None
    reader = next(iter(node.users))
    if reader.op == "call_module" or reader.target not in ADDITIONS or len(reader.args) != 2 or reader.kwargs:
        return None
    between = node.next
    while between is not reader:
        if not isinstance(_module(network, between), (nn.Conv2d, nn.AvgPool2d, FusedConvolution)):
            return None
        between = between.next
    first, second = reader.args
    if first is node and second is not node and isinstance(second, fx.Node):
        return second
    return first if second is node and isinstance(first, fx.Node) and reader.target not in _IN_PLACE else None


class FusedConvolution(nn.Module):
    """A convolution, then perhaps the addition of another tensor, then perhaps a ReLU."""

    def __init__(self, convolution: nn.Conv2d, rectifier: tuple[str, list[float]] | None) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        padding = [int(each) for each in convolution.padding]
        self._geometry = (padding, list(convolution.stride), list(convolution.dilation), convolution.groups)
        self._rectifier, self._limits = rectifier or ("none", [])
        self._laid_out: tuple[torch.Size | None, Tensor] = (None, self.weight)

    def forward(self, images: Tensor, summand: Tensor | None = None) -> Tensor:
        """Convolve images (N, C, H, W), add the summand, rectify."""
        images = images.contiguous(memory_format=torch.channels_last)
        convolution = torch.ops.mkldnn._convolution_pointwise
        tensors = (self._weight_for(images), self.bias, *self._geometry)
        output: Tensor
        if summand is None:
            output = convolution(images, *tensors, self._rectifier, self._limits, "")
        elif summand.shape == self._output_shape(images) and summand.dtype == images.dtype:
            rectifier = None if self._rectifier == "none" else self._rectifier
            output = convolution.binary(images, summand, *tensors, "add", None, rectifier, self._limits, None)
        else:  # a summand that is spread over the image
            output = convolution(images, *tensors, "none", [], "") + summand
            if self._rectifier != "none":
                output = output.clamp(*(self._limits or [0.0]))
        return output

    def _weight_for(self, images: Tensor) -> Tensor:
        """The weights as oneDNN reads them for images of this shape; laying them out anew costs what a Conv2d pays."""
        shape, laid_out = self._laid_out
        if shape != images.shape:
            laid_out = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self._geometry, list(images.shape))
            self._laid_out = images.shape, laid_out
        return laid_out

    def _output_shape(self, images: Tensor) -> tuple[int, ...]:
        geometry = zip(images.shape[2:], self.weight.shape[2:], *self._geometry[:3], strict=True)
        sides = [(side + 2 * pad - gap * (kernel - 1) - 1) // step + 1 for side, kernel, pad, step, gap in geometry]
        return len(images), len(self.weight), *sides
