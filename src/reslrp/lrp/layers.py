"""Layers that are linear in their input, as the rules see them: ``z = W h`` without bias, and its transpose.

A rule never looks at a layer's kind: it asks for ``apply`` (W h for a part of W), ``transpose`` (W^T s) and ``spread``
(relevance distributed evenly over each unit's receptive field).
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from reslrp.lrp.weights import WeightPart, WeightParts


class LinearLayer(Protocol):
    """What a rule may ask of a layer; ``h`` is its input, ``s`` has its output's shape."""

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias, shaped to be added to its output."""

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        """Return ``part(W) h`` without bias, as a new tensor."""

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        """Return ``part(W)^T s`` as a new tensor of the shape of ``h``."""

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        """Distribute each output's relevance evenly over the inputs in its receptive field, as a new tensor like ``h``.

        ``support`` (shape of ``h``) is zero at inputs that were padded in and must not receive any; None: all may.
        """


def transposed_map(function: Callable[[Tensor], Tensor], s: Tensor, h: Tensor) -> Tensor:
    """Apply the transpose of a linear ``function`` of tensors like ``h`` to ``s``."""
    with torch.enable_grad():
        variable = torch.empty_like(h, requires_grad=True)
        (result,) = torch.autograd.grad(function(variable), variable, s)
    return result


class Convolution:
    """A convolution of any dimension, grouped, dilated or transposed."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        transposed: bool,
        output_padding: list[int],
        groups: int,
        parts: WeightParts,
    ) -> None:
        self.weight = weight
        self.bias = None if bias is None else bias.detach().reshape(-1, *[1] * (weight.dim() - 2))
        self.geometry = (stride, padding, dilation, transposed, output_padding)
        self.groups = groups
        self.parts = parts

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        weight = self.parts.get(self.weight, part, h.dtype)
        return torch.convolution(h, weight, None, *self.geometry, self.groups)

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        weight = self.parts.get(self.weight, part, s.dtype)
        return self._transpose(s, weight, h, self.groups)

    def _transpose(self, s: Tensor, weight: Tensor, h: Tensor, groups: int) -> Tensor:
        # The input half of the convolution's own backward: no graph, and no gradient of the weight.
        result: Tensor = torch.ops.aten.convolution_backward(
            s, h, weight, None, *self.geometry, groups, [True, False, False]
        )[0]
        return result

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        # Every channel of a group receives the same, so one box filter per group does it.
        n, spatial = h.shape[0], h.shape[2:]
        groups = self.groups
        box = relevance.new_ones(groups, 1, *self.weight.shape[2:])
        if support is None:
            available = relevance.new_full((1, groups, *spatial), h.shape[1] / groups)
        else:
            available = support.reshape(n, groups, -1, *spatial).sum(2)
        count = torch.convolution(available, box, None, *self.geometry, groups)
        total = relevance.reshape(n, groups, -1, *relevance.shape[2:]).sum(2)
        like = h.new_empty(()).expand(n, groups, *spatial)
        share = self._transpose(total / count.clamp(min=1), box, like, groups).unsqueeze(2)
        result = share.expand(n, groups, h.shape[1] // groups, *spatial).reshape(h.shape)
        if support is not None:
            result = result * support
        return _spread_homeless(result, total * (count < 0.5), support)


class Dense:
    """A fully connected layer on the last dimension."""

    def __init__(self, weight: Tensor, bias: Tensor | None, parts: WeightParts) -> None:
        self.weight = weight
        self.bias = None if bias is None else bias.detach()
        self.parts = parts

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return F.linear(h, self.parts.get(self.weight, part, h.dtype))

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        return s @ self.parts.get(self.weight, part, s.dtype)

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        total = relevance.sum(-1, keepdim=True)
        mask = torch.ones_like(h) if support is None else support
        count = mask.sum(-1, keepdim=True)
        return _spread_homeless(mask * (total / count.clamp(min=1)), total * (count < 0.5), support)


class LinearMap:
    """A linear map without parameters and with non-negative entries (average pooling, mean, interpolation, ...)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.bias: Tensor | None = None

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        # Its weights are a non-negative matrix times 1, so a part of W is that part of 1.
        factor = float(part.of(torch.ones(())))
        return self.function(h) if factor == 1 else self.function(h) * factor

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        factor = float(part.of(torch.ones(())))
        result = transposed_map(self.function, s, h)
        return result if factor == 1 else result * factor

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        mask = torch.ones_like(h) if support is None else support
        count = self.function(mask)
        empty = count <= 0
        result = transposed_map(self.function, relevance / count.masked_fill(empty, 1), h) * mask
        return _spread_homeless(result, relevance * empty, support)


def _spread_homeless(result: Tensor, homeless: Tensor, support: Tensor | None) -> Tensor:
    """Add the relevance of units that see nothing but padding evenly over the whole input of their image."""
    total = homeless.flatten(1).sum(1)
    if not total.is_cuda and not total.any():
        return result
    mask = torch.ones_like(result) if support is None else support
    share = total / mask.flatten(1).sum(1).clamp(min=1)
    return result + mask * share.reshape(-1, *[1] * (result.dim() - 1))


class Padded:
    """A layer that pads its input first, by reflection, by repetition, or unevenly."""

    def __init__(self, layer: LinearLayer, pad: Callable[[Tensor], Tensor]) -> None:
        self.layer = layer
        self.pad = pad
        self.bias = layer.bias

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        return self.layer.apply(self.pad(h), part)

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        return transposed_map(self.pad, self.layer.transpose(s, part, self.pad(h)), h)

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        mask = self.pad(torch.ones_like(h) if support is None else support)
        return transposed_map(self.pad, self.layer.spread(relevance, mask, self.pad(h)), h)
