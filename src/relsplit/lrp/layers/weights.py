"""Parts of a weight (positive, negative, ...), kept until it changes and shared by all that explain with it."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from relsplit.lrp.layers.kept import Kept


@dataclass(frozen=True)
class WeightPart:
    """A named elementwise function of a weight. Equal names mean equal functions: the name is the cache's key."""

    name: str
    of: Callable[[Tensor], Tensor]


FULL = WeightPart("full", lambda weight: weight)
POSITIVE = WeightPart("positive", lambda weight: weight.clamp(min=0))
NEGATIVE = WeightPart("negative", lambda weight: weight.clamp(max=0))
ABSOLUTE = WeightPart("absolute", lambda weight: weight.abs())


class WeightParts:
    """Parts of one layer's weight, kept until the weight changes."""

    def __init__(self) -> None:
        self._parts = Kept[Tensor]()

    def get(self, weight: Tensor, part: WeightPart, like: Tensor) -> Tensor:
        """Return ``part`` of ``weight`` in the dtype and, for a feature map, the memory format of ``like``."""
        weight = weight.detach()
        if part is FULL and weight.dtype == like.dtype:
            return weight
        layout = memory_format(like)
        key = (part.name, like.dtype)
        value = self._parts.get(key, [weight], lambda: in_format(part.of(weight).to(like.dtype), layout))
        if not has_format(value, layout):  # batches of both kinds: the other one takes its place
            value = in_format(value, layout)
            self._parts.put(key, value)
        return value


def memory_format(feature_map: Tensor) -> torch.memory_format:
    """Return whether a feature map (N, C, H, W) has its channels last in memory; others count as contiguous."""
    last = feature_map.dim() == 4 and feature_map.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not feature_map.is_contiguous() else torch.contiguous_format


def has_format(weight: Tensor, layout: torch.memory_format) -> bool:
    """Say whether a weight lies in memory so that a layer with inputs of this format need not copy it."""
    return weight.dim() != 4 or weight.is_contiguous(memory_format=layout)


def in_format(weight: Tensor, layout: torch.memory_format) -> Tensor:
    """Return a weight in that format."""
    return weight if has_format(weight, layout) else weight.contiguous(memory_format=layout)


class SharedParts:
    """The parts of one layer's parameter, the same ones for every explainer of the same network.

    They are freed with the last explainer, or with the parameter.
    """

    def __init__(self) -> None:
        self._parameter: weakref.ref[Tensor] | None = None
        self._parts = WeightParts()

    def of(self, parameter: Tensor) -> WeightParts:
        """Return the parts of ``parameter``."""
        if self._parameter is None or self._parameter() is not parameter:
            shared = _SHARED.get(parameter)
            parts = None if shared is None else shared()
            self._parts = WeightParts() if parts is None else parts
            self._parameter = weakref.ref(parameter)
            _SHARED[parameter] = weakref.ref(self._parts)
        return self._parts


_SHARED = WeakTensorKeyDictionary()
