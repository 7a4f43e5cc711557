"""The positive contributions of an input of both signs: ``W+ h+ + W- h-``."""

from typing import Protocol

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import FULL, HALF_ABSOLUTE, NEGATIVE, POSITIVE, WeightPart, memory_format

_LEAST_SHARE = 0.1
LEAST_INPUTS = 64
"""Of an output; of fewer, some unit nearly always has contributions that cancel."""
_SIDE_BY_SIDE = WeightPart("positive beside negative", lambda w: torch.cat((w.clamp(min=0), w.clamp(max=0)), 1))


class BothSigns(Protocol):
    """A layer as seen by its input's positive and negative entries."""

    def apply(self) -> Tensor:
        """Return ``W+ h+ + W- h-``, to be written over: it is asked once."""

    def shares(self, s: Tensor) -> Tensor:
        """Return ``h+ W+^T s + h- W-^T s``, as a new tensor of the shape of h."""


def both_signs(layer: LinearLayer, h: Tensor) -> BothSigns:
    """Return how ``layer`` sees its input ``h``."""
    by_magnitude = _by_magnitude(layer, h)
    if by_magnitude is not None:
        return by_magnitude
    dim = layer.side_by_side
    if dim is None:
        return _OneByOne(layer, h.clamp(min=0), h.clamp(max=0))
    if h.requires_grad:
        return _SideBySide(layer, torch.cat((h.clamp(min=0), h.clamp(max=0)), dim), dim)
    shape = list(h.shape)
    shape[dim] *= 2
    joined = torch.empty(shape, dtype=h.dtype, device=h.device, memory_format=memory_format(h))
    above, below = joined.chunk(2, dim)
    torch.clamp(h, min=0, out=above)
    torch.clamp(h, max=0, out=below)
    return _SideBySide(layer, joined, dim)


def _by_magnitude(layer: LinearLayer, h: Tensor) -> "_ByMagnitude | None":
    """Return ``(W h + |W| |h|) / 2``, where the former is known; None where positive contributions are nearly lost.

    What is positive is half of the sum of all contributions and of their magnitudes. A sum of nearly the same size and
    of the other sign leaves but the rounding of both; units of few inputs are too often such.
    """
    whole, weight = layer.output, layer.weight
    if whole is None or weight is None or whole.device.type != "cpu" or not whole.numel() or torch.is_grad_enabled():
        return None
    if weight[0].numel() < LEAST_INPUTS:
        return None
    magnitude = h.abs()
    half = layer.apply(magnitude, HALF_ABSOLUTE)
    z = torch.add(half, whole, alpha=0.5)
    if layer.bias is not None:
        z.sub_(layer.bias, alpha=0.5)
        half.add_(layer.bias.abs(), alpha=0.5)  # it has been rounded with the whole
    is_exact = bool(z.sub(half, alpha=_LEAST_SHARE).amin() > 0)
    return _ByMagnitude(layer, h, magnitude, z) if is_exact else None


class _ByMagnitude:
    """A product less than by the signs, because the network has carried one out."""

    def __init__(self, layer: LinearLayer, h: Tensor, magnitude: Tensor, z: Tensor) -> None:
        self._layer, self._h, self._magnitude, self._z = layer, h, magnitude, z

    def apply(self) -> Tensor:
        return self._z

    def shares(self, s: Tensor) -> Tensor:
        result = self._layer.transpose(s, HALF_ABSOLUTE, self._h).mul_(self._magnitude)
        return result.addcmul_(self._layer.transpose(s, FULL, self._h), self._h, value=0.5)


class _OneByOne:
    """A product for each sign."""

    def __init__(self, layer: LinearLayer, above: Tensor, below: Tensor) -> None:
        self._layer, self._above, self._below = layer, above, below

    def apply(self) -> Tensor:
        return self._layer.apply(self._above, POSITIVE).add_(self._layer.apply(self._below, NEGATIVE))

    def shares(self, s: Tensor) -> Tensor:
        result = self._layer.transpose(s, POSITIVE, self._above).mul_(self._above)
        return result.addcmul_(self._layer.transpose(s, NEGATIVE, self._below), self._below)


class _SideBySide:
    """One product for both: the output, often larger than the input, is written and read once instead of twice."""

    def __init__(self, layer: LinearLayer, joined: Tensor, dim: int) -> None:
        self._layer, self._joined, self._dim = layer, joined, dim

    def apply(self) -> Tensor:
        return self._layer.apply(self._joined, _SIDE_BY_SIDE)

    def shares(self, s: Tensor) -> Tensor:
        passed = self._layer.transpose(s, _SIDE_BY_SIDE, self._joined).mul_(self._joined)
        above, below = passed.chunk(2, self._dim)
        return above + below
