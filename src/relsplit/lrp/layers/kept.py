"""What is computed from tensors, kept until one of them changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")

_SAMPLES = 64


class Kept(Generic[Value]):
    """Values by key, each valid as long as the tensors that it was computed from are the same and unchanged.

    A change is noticed by a tensor's identity in memory, its version counter (every in-place operation raises it) and a
    sample of its values (``weight.data`` and writes from outside PyTorch do not raise the counter). Two threads may
    compute the same value twice, harmlessly.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[list[_State], Value]] = {}

    def get(self, key: Hashable, tensors: Sequence[Tensor], compute: Callable[[], Value]) -> Value:
        """Return what ``compute`` returned for ``key`` when the ``tensors`` were as they are now."""
        found = self._found.get(key)
        if found is not None and _are_still(found[0], tensors):
            return found[1]
        value = compute()
        self._found[key] = [_State(tensor) for tensor in tensors], value
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep another form of the value that ``get`` has just returned."""
        self._found[key] = self._found[key][0], value


class _State:
    """A tensor as it was."""

    def __init__(self, tensor: Tensor) -> None:
        # Keeps the memory alive, so that an equal address means the same memory.
        self._tensor = tensor.detach()
        self._version = _version(tensor)
        self._sample = _sample(self._tensor).clone()

    def is_still(self, tensor: Tensor) -> bool:
        tensor = tensor.detach()
        return (
            self._tensor.data_ptr() == tensor.data_ptr()
            and self._tensor.shape == tensor.shape
            and self._tensor.stride() == tensor.stride()
            and self._version == _version(tensor)
            and torch.equal(self._sample, _sample(tensor))
        )


def _are_still(states: Sequence[_State], tensors: Sequence[Tensor]) -> bool:
    same_number = len(states) == len(tensors)
    return same_number and all(state.is_still(tensor) for state, tensor in zip(states, tensors, strict=True))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1) if tensor.is_contiguous() else tensor.permute(*_strides_order(tensor)).reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLES)]


def _strides_order(tensor: Tensor) -> list[int]:
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda dim: -strides[dim])
