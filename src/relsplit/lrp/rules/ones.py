"""The rule of the released code at the image: the input is replaced by ones."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import POSITIVE
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import Stabilizer, positive_quotient
from relsplit.options import checked_options


@RULES.register("ones")
@checked_options
class Ones:
    """z+ with the input replaced by ones (released code, first convolution): position decides, not the pixel's value.

    Padding stays zero. A unit without positive weights distributes its relevance evenly over its receptive field.
    """

    def __init__(self, stabilizer: Stabilizer = 0.0) -> None:
        self.stabilizer = stabilizer
        self.conserves = not stabilizer

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        ones = torch.ones_like(h[:1]) if support is None else support
        s, lost = positive_quotient(relevance, layer.apply(ones, POSITIVE), self.stabilizer)
        result = layer.transpose(s, POSITIVE, h)
        if support is not None:
            result.mul_(support)
        return result if lost is None else result.add_(layer.spread(lost, support, h))
