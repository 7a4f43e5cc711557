"""What is computed from tensors, kept until one of them changes."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

Value = TypeVar("Value")

_SAMPLES = 64
_read: ContextVar[Mapping[Hashable, Tensor] | None] = ContextVar("_read", default=None)


@contextmanager
def samples_read_together(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Let :class:`Kept` compare these tensors within as they are now, without looking at them again.

    On a GPU every look waits until all that was asked of it before is computed; so there is one for all tensors.
    """
    alike = defaultdict[Hashable, list[Tensor]](list)
    for tensor in tensors:
        if tensor.layout == torch.strided and not tensor.is_meta and not is_lazy(tensor):
            alike[tensor.device, tensor.dtype].append(tensor.detach())
    read: dict[Hashable, Tensor] = {}
    for group in alike.values():
        picked = [_picked(tensor) for tensor in group]
        together = torch.cat(picked).cpu()
        for tensor, sample in zip(group, together.split([len(each) for each in picked]), strict=True):
            read[_place(tensor)] = sample
    token = _read.set(read)
    try:
        yield
    finally:
        _read.reset(token)


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
            _place(self._tensor) == _place(tensor)
            and self._version == _version(tensor)
            and torch.equal(self._sample, _sample(tensor))
        )


def _are_still(states: Sequence[_State], tensors: Sequence[Tensor]) -> bool:
    same_number = len(states) == len(tensors)
    return same_number and all(state.is_still(tensor) for state, tensor in zip(states, tensors, strict=True))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _place(tensor: Tensor) -> Hashable:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _sample(tensor: Tensor) -> Tensor:
    read = (_read.get() or {}).get(_place(tensor))
    return _picked(tensor).cpu() if read is None else read


def _picked(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1) if tensor.is_contiguous() else tensor.permute(*_strides_order(tensor)).reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLES)]


def _strides_order(tensor: Tensor) -> list[int]:
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda dim: -strides[dim])
