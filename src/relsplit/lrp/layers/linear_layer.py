"""What a layer that is linear in its input is to the rules: ``z = W h`` without bias, and its transpose.

A rule never looks at a layer's kind: it asks for ``apply`` (W h for a part of W), ``transpose`` (W^T s) and ``spread``
(relevance distributed evenly over each unit's receptive field).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from relsplit.lrp.layers.weights import FULL, WeightPart


class LinearLayer(Protocol):
    """What a rule may ask of a layer; ``h`` is its input, ``s`` has its output's shape.

    Attributes:
        output: ``W h + b`` as the network computed it, for reading; None where it was not kept, or ``h`` is another.
    """

    output: Tensor | None

    @property
    def weight(self) -> Tensor | None:
        """The layer's weights as the network used them; None: it has none."""

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias, shaped to be added to its output."""

    @property
    def side_by_side(self) -> int | None:
        """The dimension along which inputs can stand side by side if the weights do along their second; None: none."""

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        """Return ``part(W) h`` without bias, as a new tensor."""

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        """Return ``part(W)^T s`` as a new tensor of the shape of ``h``."""

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        """Distribute each output's relevance evenly over the inputs in its receptive field; for reading, of h's shape.

        ``support`` (shape of ``h``) is zero at inputs that do not depend on the image and must not receive any; None:
        all may.
        """

    def reach(self, support: Tensor) -> Tensor:
        """Return where the output sees any input that ``support`` allows, as booleans of the output's shape."""


def output_of(layer: LinearLayer, h: Tensor) -> Tensor:
    """Return ``W h + b``, for reading: what the network computed, where that was kept."""
    bias = layer.bias  # asked for in any case: it is a part of what was kept
    if layer.output is not None:
        return layer.output
    z = layer.apply(h, FULL)
    return z if bias is None else z + bias


def transposed_map(function: Callable[[Tensor], Tensor], s: Tensor, h: Tensor) -> Tensor:
    """Apply the transpose of a linear ``function`` of tensors like ``h`` to ``s``."""
    in_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        variable = torch.empty_like(h, requires_grad=True)
        (result,) = torch.autograd.grad(function(variable), variable, s, create_graph=in_graph)
    # The gradient of a sum is one number seen many times: rules write into what they get.
    return result.clone(memory_format=torch.contiguous_format) if 0 in result.stride() else result


def spread_evenly(result: Tensor, homeless: Tensor, support: Tensor | None) -> Tensor:
    """Add the relevance of units that see nothing of the image evenly over the whole input."""
    images = len(homeless) if homeless.dim() else 1
    total = homeless.reshape(images, -1).sum(1)
    if total.device.type == "cpu" and not total.any():
        return result
    mask = torch.ones_like(result) if support is None else support
    share = total / mask.reshape(images, -1).sum(1).clamp(min=1)
    return result + mask * share.reshape(-1, *[1] * (result.dim() - 1))
