"""The one division of every rule, ``s = R / z``: what belongs to z, and what becomes of relevance where it is zero."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import WeightPart
from relsplit.lrp.pieces import in_pieces
from relsplit.options import Limits

Stabilizer = Annotated[float, Limits(minimum=0)]
"""Added to denominators; 0 for none."""


def add_bias(z: Tensor, layer: LinearLayer, part: WeightPart, wanted: bool) -> Tensor:
    """Add a part of the layer's bias to ``z``, in place, where it is wanted; relevance that it takes goes nowhere.

    Args:
        z: contributions of that part of the weights.
        layer: with its bias, or without one.
        part: of the bias.
        wanted: a rule's option ``bias``.
    """
    return z if not wanted or layer.bias is None else z.add_(part.of(layer.bias).to(z.dtype))


def positive_quotient(relevance: Tensor, z: Tensor, stabilizer: float) -> tuple[Tensor, Tensor | None]:
    """Return ``R / (z + stabilizer)`` for z >= 0, and the relevance that z = 0 leaves without a receiver.

    ``z`` is overwritten. With a stabiliser the second is None: such relevance vanishes, as in the released code.
    Without one it is a tensor of the shape of z, or None where none is left over; the caller spreads it. One ``z`` for
    all images, (1, ...) for R of (N, ...), will do.
    """
    in_graph = relevance.requires_grad or z.requires_grad
    result = z if z.shape == relevance.shape and not in_graph else None
    if stabilizer:
        return torch.div(relevance, z.add_(stabilizer), out=result), None
    # Quotients of subnormal numbers overflow; what small z could have passed on counts as nothing.
    floor = torch.finfo(z.dtype).tiny ** 0.75
    # Reading z once is far cheaper than masking it; a GPU would have to wait for the answer, so there it is masked.
    if z.device.type == "cpu" and (z.numel() == 0 or bool(z.amin() > floor)):
        return torch.div(relevance, z, out=result), None
    F.threshold(z, floor, torch.inf, inplace=True)  # R / inf is 0, and comparing is faster than masking
    # Most units that nothing contributes to are switched off, and received nothing.
    lost = torch.where(z < torch.inf, 0.0, relevance) if z.device.type != "cpu" or _left_over(relevance, z) else None
    return torch.div(relevance, z, out=result), lost


def _left_over(relevance: Tensor, z: Tensor) -> bool:
    """Say whether any relevance lies where z is infinite."""
    pieces = in_pieces(*torch.broadcast_tensors(relevance, z))
    return any(bool(((here != 0) & (below == torch.inf)).any()) for here, below in pieces)


def signed_denominator(z: Tensor, epsilon: float) -> Tensor:
    """Return ``z + epsilon * sign(z)`` with sign(0) = 1, never exactly zero."""
    smallest = z.new_tensor(max(epsilon, torch.finfo(z.dtype).tiny ** 0.75))  # a number alone would be float32
    # Taking a sign over is several times faster than choosing; adding 0 makes the zero with a minus one without.
    return torch.copysign(smallest, z.detach() + 0.0).add_(z)


def signed_shares(relevance: Tensor, z: Tensor, epsilon: float, over: Tensor | None = None) -> Tensor:
    """Return ``R / (z + epsilon sign(z))``; see :func:`signed_denominator`.

    ``over`` is the one of the two that may be written over, where autograd has not kept it; None: none.
    """
    if relevance.requires_grad or z.requires_grad:
        return relevance / signed_denominator(z, epsilon)
    result = torch.empty_like(z) if over is None or torch.is_grad_enabled() or over.shape != z.shape else over
    for share, here, below in in_pieces(result, relevance, z):
        torch.div(here, signed_denominator(below, epsilon), out=share)
    return result


def signed_quotient(relevance: Tensor, z: Tensor, stabilizer: float) -> tuple[Tensor, Tensor | None]:
    """Return ``R / (z + stabilizer sign(z))`` and, without a stabiliser, what z = 0 leaves without a receiver.

    ``relevance`` may be written over.
    """
    if stabilizer:
        return signed_shares(relevance, z, stabilizer, over=relevance), None
    dead = z.abs() <= torch.finfo(z.dtype).tiny ** 0.75
    # Where nothing is divided, its gradient must not be divided by nothing.
    safe = z.masked_fill(dead, 1) if z.requires_grad else z
    return (relevance / safe).masked_fill_(dead, 0), relevance * dead
