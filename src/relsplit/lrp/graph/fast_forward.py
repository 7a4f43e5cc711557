"""The forward pass in fewer steps over memory: normalisation folded into convolutions, activations in place.

The graph stays as it is, and so does every value that somebody reads later.
"""

import copy
import operator
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from relsplit.lrp.graph.functions import Function
from relsplit.lrp.graph.tracing import Traced
from relsplit.lrp.layers.kept import Kept
from relsplit.lrp.layers.weights import in_format, memory_format

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Hardswish, nn.Mish)
_ACTIVATION_FUNCTIONS: dict[Any, Function] = {torch.relu: torch.relu_, F.relu: torch.relu_, "relu": torch.relu_}
_ADDITIONS = (operator.add, torch.add)


def fast_forward(traced: Traced, leaves: Collection[fx.Node]) -> dict[fx.Node, Function]:
    """Return the functions of the nodes that are better computed otherwise than the graph says.

    Args:
        traced: the model; subclasses of PyTorch's own modules are left alone, for they may do something else.
        leaves: nodes that have a user's rule: it looks at their own function, and at what they read.
    """
    functions: dict[fx.Node, Function] = {}
    fresh: set[fx.Node] = set()  # values that one node alone reads, and whose memory nobody else has
    for node in traced.graph.nodes:
        if node in leaves:
            continue
        module: Any = _module(node, traced)
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        own = source in fresh
        if type(module) in _CONVOLUTIONS:
            fresh.add(node)
        elif type(module) in _NORMALISATIONS and source is not None:
            convolution = _module(source, traced)
            alone = source not in leaves and len(source.users) == 1
            if alone and type(convolution) in _CONVOLUTIONS and module.running_mean is not None:
                functions[source] = NormalisedConvolution(convolution, module)
                functions[node] = _unchanged
            fresh.add(node)
        elif own and type(module) in _ACTIVATIONS:
            functions[node] = _in_place(module)
            fresh.add(node)
        elif own and node.target in _ACTIVATION_FUNCTIONS and len(node.args) == 1 and not node.kwargs:
            functions[node] = _ACTIVATION_FUNCTIONS[node.target]
            fresh.add(node)
        elif node.target in _ADDITIONS and len(node.args) == 2 and not node.kwargs:
            first, second = node.args
            if first is not second and (first in fresh or second in fresh):
                functions[node] = _add_to_first if first in fresh else _add_to_second
            fresh.add(node)
        if len(node.users) != 1:
            fresh.discard(node)
    return functions


class NormalisedConvolution:
    """A convolution and the BatchNorm after it, as one convolution with scaled weights.

    Relevance passes the normalisation unchanged, so that the rules go on to see the convolution's own weights. The
    scaled weights take as much memory as the network's; for few images on a CPU, which are not worth it, the two are
    computed one after the other.

    Args:
        convolution: without hooks.
        normalisation: with running statistics, in evaluation mode.
    """

    def __init__(self, convolution: Any, normalisation: Any) -> None:
        self._convolution, self._normalisation = convolution, normalisation
        self._kept = Kept[tuple[Tensor, Tensor]]()

    def __call__(self, h: Tensor) -> Tensor:
        """Return the normalised output for a feature map ``h``."""
        convolution, normalisation = self._convolution, self._normalisation
        weight: Tensor = convolution.weight
        layout = memory_format(h)
        in_full = weight.dtype == h.dtype and h.dtype in (torch.float32, torch.float64)
        if not in_full or not (h.is_cuda or layout == torch.channels_last):
            return normalisation.forward(convolution.forward(h))  # type: ignore[no-any-return]
        tensors = [convolution.bias, normalisation.weight, normalisation.bias]
        tensors += [normalisation.running_mean, normalisation.running_var]
        scaled, shift = self._kept.get(
            (layout, normalisation.eps), [weight, *(t for t in tensors if t is not None)], lambda: self._folded(layout)
        )
        return convolution._conv_forward(h, scaled, shift)  # type: ignore[no-any-return]

    def _folded(self, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
        convolution, normalisation = self._convolution, self._normalisation
        weight = convolution.weight.detach()
        scale = (normalisation.running_var.double() + normalisation.eps).rsqrt()
        if normalisation.weight is not None:
            scale = scale * normalisation.weight.detach().double()
        mean = normalisation.running_mean.double()
        if convolution.bias is not None:
            mean = mean - convolution.bias.detach().double()
        shift = -mean * scale
        if normalisation.bias is not None:
            shift = shift + normalisation.bias.detach().double()
        scaled = weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))
        return in_format(scaled.to(weight.dtype), layout), shift.to(weight.dtype)


def _module(node: fx.Node, traced: Traced) -> nn.Module | None:
    return traced.modules[str(node.target)] if node.op == "call_module" else None


def _unchanged(value: Tensor) -> Tensor:
    return value


def _in_place(module: Any) -> Callable[[Tensor], Tensor]:
    """The same activation, writing over what it reads."""
    twin = copy.copy(module)
    twin.inplace = True
    return twin.forward  # type: ignore[no-any-return]


def _add_to_first(first: Any, second: Any) -> Any:
    fits = isinstance(second, Tensor) and first.shape == second.shape and first.dtype == second.dtype
    return first.add_(second) if fits else first + second


def _add_to_second(first: Any, second: Any) -> Any:
    fits = isinstance(first, Tensor) and first.shape == second.shape and first.dtype == second.dtype
    return second.add_(first) if fits else first + second
