"""Parts of a weight (positive, negative, ...) and their cache."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


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
    """Parts of one layer's weight, kept until the weight changes.

    A change is noticed by the tensor's identity in memory, its version counter (every in-place operation raises it) and
    a sample of its values (``weight.data`` and writes from outside PyTorch do not raise the counter).
    """

    _SAMPLES = 64

    def __init__(self) -> None:
        self._parts: dict[tuple[str, torch.dtype], tuple[Tensor, int, Tensor, Tensor]] = {}

    def get(self, weight: Tensor, part: WeightPart, dtype: torch.dtype) -> Tensor:
        """Return ``part`` of ``weight`` in ``dtype``; two threads may compute the same part twice, harmlessly."""
        weight = weight.detach()
        if part is FULL and weight.dtype == dtype:
            return weight
        version = 0 if weight.is_inference() else weight._version
        flat = weight.reshape(-1) if weight.is_contiguous() else weight.permute(*_strides_order(weight)).reshape(-1)
        sample = flat[:: max(1, flat.numel() // self._SAMPLES)]
        kept = self._parts.get((part.name, dtype))
        if (
            kept is not None
            # The kept tensor keeps its memory alive, so that an equal address means the same memory.
            and kept[0].data_ptr() == weight.data_ptr()
            and kept[0].shape == weight.shape
            and kept[0].stride() == weight.stride()
            and kept[1] == version
            and torch.equal(kept[2], sample)
        ):
            return kept[3]
        value = part.of(weight).to(dtype)
        self._parts[part.name, dtype] = (weight, version, sample.clone(), value)
        return value


def _strides_order(weight: Tensor) -> list[int]:
    strides = weight.stride()
    return sorted(range(weight.dim()), key=lambda dim: -strides[dim])
