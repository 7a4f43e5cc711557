"""A recorded operation as a function, to be carried out once more."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.recording.recorder import Call
from relsplit.lrp.recording.step import Step


class Again:
    """An operation as a function of those arguments that depend on the input; never in place."""

    def __init__(self, call: Call, sources: Sequence[tuple[Tensor, Step]]) -> None:
        places = {id(tensor): place for place, (tensor, _) in enumerate(sources)}
        self._func = _functional(call.func, call.name) if call.is_in_place else call.func
        self._args = tuple(_holed(value, places) for value in call.args)
        self._kwargs = {name: _holed(value, places) for name, value in call.kwargs.items() if name != "out"}

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """Return the operation's result for other values."""
        kwargs = {name: _filled(value, values) for name, value in self._kwargs.items()}
        result: Tensor = self._func(*[_filled(value, values) for value in self._args], **kwargs)
        return result


class _Hole:
    """The place of an argument."""

    def __init__(self, place: int) -> None:
        self.place = place


def _holed(value: Any, places: dict[int, int]) -> Any:
    if isinstance(value, Tensor):
        return _Hole(places[id(value)]) if id(value) in places else value.detach()
    return [_holed(each, places) for each in value] if isinstance(value, (list, tuple)) else value


def _filled(value: Any, values: Sequence[Tensor]) -> Any:
    if isinstance(value, _Hole):
        return values[value.place]
    return [_filled(each, values) for each in value] if isinstance(value, list) else value


def _functional(func: Any, name: str) -> Any:
    overload = func._overloadname
    packet = getattr(torch.ops.aten, name)
    return getattr(packet, overload if overload in packet.overloads() else packet.overloads()[0])
