"""Modules and functions that their user gave a rule of their own: kept whole, whatever they do inside."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp.leaf_rules import LeafRule
from relsplit.lrp.recording.recorder import Recorder
from relsplit.lrp.recording.step import Step


@contextmanager
def kept_whole(view: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Within, ``recorder`` takes every module and every Python function that has a leaf rule as one operation.

    Args:
        view: of the user's network, made for this call alone.
        recorder: of the call, with LRP's options.
    """
    _keep_modules_whole(view, recorder)
    with _functions_kept_whole(recorder):
        yield


def _keep_modules_whole(view: nn.Module, recorder: Recorder) -> None:
    rules = {leaf: rule for leaf, rule in recorder.options.leaves.items() if isinstance(leaf, type)}
    for module in list(view.modules()):
        rule = next((rule for leaf, rule in rules.items() if isinstance(module, leaf)), None)
        if rule is not None:
            module.__dict__["forward"] = _whole(module.forward, rule, type(module).__name__, recorder)


def _whole(forward: Callable[..., Any], rule: LeafRule, name: str, recorder: Recorder) -> Callable[..., Any]:
    def kept_whole(*args: Any, **kwargs: Any) -> Any:
        if recorder.is_paused:  # inside of another leaf
            return forward(*args, **kwargs)
        with recorder.paused():
            output = forward(*args, **kwargs)
        _record(recorder, forward, rule, name, args, kwargs, output)
        return output

    return kept_whole


@contextmanager
def _functions_kept_whole(recorder: Recorder) -> Iterator[None]:
    """A profile function of this thread sees its calls, so that nobody's module is changed."""
    rules = {leaf.__code__: (leaf, rule) for leaf, rule in recorder.options.leaves.items() if hasattr(leaf, "__code__")}
    if not rules:
        yield
        return
    before = sys.getprofile()
    sys.setprofile(_Profile(recorder, rules))
    try:
        yield
    finally:
        sys.setprofile(before)


class _Profile:
    def __init__(self, recorder: Recorder, rules: Mapping[CodeType, tuple[Callable[..., Any], LeafRule]]) -> None:
        self._recorder, self._rules = recorder, rules
        self._frame: FrameType | None = None
        self._arguments: dict[str, Any] = {}

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if frame.f_code not in self._rules:
            return
        if event == "call" and self._frame is None:
            self._frame, self._arguments = frame, dict(frame.f_locals)
            self._recorder.is_paused = True
        elif event == "return" and self._frame is frame:
            self._frame, self._recorder.is_paused = None, False
            function, rule = self._rules[frame.f_code]
            _record(self._recorder, function, rule, function.__name__, (), self._arguments, value)


def _record(
    recorder: Recorder,
    forward: Callable[..., Any],
    rule: LeafRule,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> None:
    """Note that a leaf made ``output``; relevance goes to its first argument that depends on the input."""
    holders = recorder.holders
    given: dict[int | str, Any] = dict(enumerate(args))
    given.update(kwargs)
    steps = {place: holders.of(value) for place, value in given.items() if isinstance(value, Tensor)}
    found = {place: step for place, step in steps.items() if step is not None}
    if not found:
        return
    if not isinstance(output, Tensor):
        raise InputError(
            f"leaves: '{name}' returns a {type(output).__name__}: a leaf must return one tensor; wrap it in a module "
            "that does, and name that one"
        )
    place, source = next(iter(found.items()))
    saved = holders.save(given[place].detach())

    def function(h: Tensor) -> Any:
        changed = {**given, place: h}
        positional = [changed[at] for at in range(len(args))]
        return forward(*positional, **{key: changed[key] for key in kwargs})

    def backward(relevance: Tensor) -> list[Tensor]:
        h = saved.tensor
        result = rule(function, h.to(relevance.dtype), relevance)
        if not isinstance(result, Tensor) or result.shape != h.shape:
            found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise InputError(
                f"leaves: the rule of '{name}' returned relevance of shape {found} for an input of shape "
                f"{tuple(h.shape)}: return one value per input entry"
            )
        return [result.clone()]  # what a user's rule returns may be the user's

    reads: list[Step] = list(found.values())
    step = recorder.add(name, recorder.path(), output.shape, reads, is_layer=True)
    step.sources, step.backward, step.conserves = (source,), backward, False
    holders.put(output, step)
