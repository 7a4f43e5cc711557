"""A recorded operation as a function, to be carried out once more."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Saved, Step


class Again:
    """An operation as a function of those arguments that depend on the input; never in place."""

    def __init__(self, call: Call, sources: Sequence[tuple[Tensor, Step]]) -> None:
        places = {id(tensor): place for place, (tensor, _) in enumerate(sources)}
        self._func = _functional(call.func, call.name) if call.is_in_place else call.func
        self._args = tuple(_holed(value, places, call) for value in call.args)
        self._kwargs = {name: _holed(value, places, call) for name, value in call.kwargs.items()}

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """Return the operation's result for other values."""
        kwargs = {name: _filled(value, values) for name, value in self._kwargs.items()}
        result: Tensor = self._func(*[_filled(value, values) for value in self._args], **kwargs)
        return result


class _Hole:
    """The place of an argument."""

    def __init__(self, place: int) -> None:
        self.place = place


def _holed(value: Any, places: dict[int, int], call: Call) -> Any:
    if isinstance(value, Tensor):
        return _Hole(places[id(value)]) if id(value) in places else call.save(value)
    return [_holed(each, places, call) for each in value] if isinstance(value, (list, tuple)) else value


def _filled(value: Any, values: Sequence[Tensor]) -> Any:
    if isinstance(value, _Hole):
        return values[value.place]
    if isinstance(value, Saved):
        return value.tensor
    return [_filled(each, values) for each in value] if isinstance(value, list) else value


def _functional(func: Any, name: str) -> Any:
    overload = func._overloadname
    packet = getattr(torch.ops.aten, name)
    return getattr(packet, overload if overload in packet.overloads() else packet.overloads()[0])
