"""The z^B rule for inputs in a box, Montavon et al. 2017."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import FULL, NEGATIVE, POSITIVE
from relsplit.lrp.rules.quotient import Stabilizer, positive_quotient
from relsplit.options import checked_options


@checked_options
class ZBox:
    """``z_ij = W_ji x_i - W+_ji l_i - W-_ji u_i`` for pixels between ``low`` and ``high``; never negative.

    Args:
        low: the least and greatest value a pixel can have, in the network's (normalised) units: numbers or
            tensors that broadcast against the input, e.g. ``((0 - mean) / std)`` of shape (1, 3, 1, 1).
        high: see ``low``.
    """

    def __init__(self, low: Tensor | float, high: Tensor | float, stabilizer: Stabilizer = 0.0) -> None:
        self.low, self.high, self.stabilizer = low, high, stabilizer
        self.conserves = not stabilizer

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        low = torch.zeros_like(h) + torch.as_tensor(self.low, dtype=h.dtype, device=h.device)
        high = torch.zeros_like(h) + torch.as_tensor(self.high, dtype=h.dtype, device=h.device)
        if support is not None:
            low, high = low * support, high * support
        z = layer.apply(h, FULL) - layer.apply(low, POSITIVE) - layer.apply(high, NEGATIVE)
        s, lost = positive_quotient(relevance, z.clamp_(min=0), self.stabilizer)
        result = layer.transpose(s, FULL, h) * h
        result -= layer.transpose(s, POSITIVE, h) * low
        result -= layer.transpose(s, NEGATIVE, h) * high
        return result if lost is None else result + layer.spread(lost, support, h)
