"""Biases among the contributions of a layer: relevance that they take goes nowhere."""

from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import WeightPart


def add_bias(z: Tensor, layer: LinearLayer, part: WeightPart, wanted: bool) -> Tensor:
    """Add a part of the layer's bias to ``z``, in place, where it is wanted and the layer has one.

    Args:
        z: contributions of that part of the weights.
        layer: with its bias.
        part: of the bias.
        wanted: a rule's option ``bias``.
    """
    return z if layer.bias is None or not wanted else z.add_(part.of(layer.bias).to(z.dtype))
