"""Modules and functions that their user gave a rule of their own: kept whole, whatever they do inside."""

import dis
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
        leaf = _Leaf(recorder, forward, rule, name, args, kwargs)
        with recorder.paused():
            output = forward(*args, **kwargs)
        leaf.record(output)
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
        self._leaf: _Leaf | None = None

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if frame.f_code not in self._rules:
            return
        if event == "call" and self._frame is None and not self._recorder.is_paused:
            function, rule = self._rules[frame.f_code]
            arguments = dict(frame.f_locals)
            self._leaf = _Leaf(self._recorder, function, rule, function.__name__, (), arguments)
            self._frame, self._recorder.is_paused = frame, True
        elif event == "return" and self._frame is frame:
            self._frame, self._recorder.is_paused = None, False
            leaf, self._leaf = self._leaf, None
            returns = dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")
            if leaf is not None and returns:  # an error that leaves the function is a "return", too
                leaf.record(value)


class _Leaf:
    """One call of a leaf; what it was given is kept as it was before.

    Args:
        recorder: of the network.
        forward: the leaf as a function.
        rule: that it has.
        name: of its class, or its own.
        args: that it is called with.
        kwargs: the same, by name.
    """

    def __init__(
        self,
        recorder: Recorder,
        forward: Callable[..., Any],
        rule: LeafRule,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._recorder, self._forward, self._rule, self._name = recorder, forward, rule, name
        self._positional, self._named = len(args), list(kwargs)
        holders = recorder.holders
        given: dict[int | str, Any] = dict(enumerate(args))
        given.update(kwargs)
        steps = {place: holders.of(value) for place, value in given.items() if isinstance(value, Tensor)}
        self._found = {place: step for place, step in steps.items() if step is not None}
        packed = [value for value in given.values() if not isinstance(value, Tensor) and self._depends(value)]
        if packed and not self._found:
            raise InputError(
                f"leaves: '{name}' takes activations in a {type(packed[0]).__name__}: a leaf must take them one by "
                "one; wrap it in a module that does, and name that one"
            )
        # What is no activation is handed in as it is: it may hold memory that the leaf writes into.
        self._given = given
        self._saved = {place: holders.save(given[place]) for place in self._found}
        recorder.written_in_pause.clear()

    def _depends(self, value: Any) -> bool:
        if isinstance(value, Tensor):
            return self._recorder.holders.of(value) is not None
        values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        return any(self._depends(each) for each in values)

    def record(self, output: Any) -> None:
        """Note that the leaf made ``output``; relevance goes to its first argument that depends on the input."""
        if not self._found:
            return
        if not isinstance(output, Tensor):
            raise InputError(
                f"leaves: '{self._name}' returns a {type(output).__name__}: a leaf must return one tensor; wrap it in "
                "a module that does, and name that one"
            )
        recorder = self._recorder
        reads: list[Step] = list(self._found.values())
        step = recorder.add(self._name, recorder.path(), output.shape, reads, is_layer=True)
        step.sources, step.backward, step.conserves = (reads[0],), self._backward, False
        if output.untyped_storage()._cdata in recorder.written_in_pause:
            recorder.holders.write(output, step)
        else:
            recorder.holders.put(output, step)

    def _function(self, h: Tensor) -> Any:
        """The leaf as a function of its first activation; it may write over a copy of that."""
        changed = {**self._given, **{place: saved.tensor for place, saved in self._saved.items()}}
        changed[next(iter(self._found))] = h.clone()
        positional = [changed[at] for at in range(self._positional)]
        return self._forward(*positional, **{key: changed[key] for key in self._named})

    def _backward(self, relevance: Tensor) -> list[Tensor]:
        h = next(iter(self._saved.values())).tensor
        result = self._rule(self._function, h.to(relevance.dtype), relevance)
        if not isinstance(result, Tensor) or result.shape != h.shape:
            found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise InputError(
                f"leaves: the rule of '{self._name}' returned relevance of shape {found} for an input of shape "
                f"{tuple(h.shape)}: return one value per input entry"
            )
        return [result.clone()]  # what a user's rule returns may be the user's
