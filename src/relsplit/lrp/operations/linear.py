"""Layers that are linear in their input, and the rule that carries relevance through each."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from relsplit.lrp.arithmetic import supported, where_supported
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.operations.by_slope import keeps_signs
from relsplit.lrp.options import Options
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.recorder import Recorder
from relsplit.lrp.recording.step import Step
from relsplit.lrp.rules.choice import checked_rule
from relsplit.lrp.rules.rule import LayerKind, Place, Rule


class PlacedRule:
    """The rule of a layer, chosen when relevance comes by: how deep the layer lies is known at the end only.

    Args:
        recorder: that records the network.
        source: the layer's input.
        kind: of the layer.
        rule: that it has wherever it stands; None: the options say.
    """

    def __init__(self, recorder: Recorder, source: Step, kind: LayerKind, rule: Rule | None = None) -> None:
        self._facts = recorder.facts
        self._options: Options = recorder.options
        self._is_first = kind != "mean" and recorder.ancestry.layers_before[source.index] == 0
        self._rule = rule
        self.kind: LayerKind = kind
        self.path = recorder.path()
        self._residuals_before = len(recorder.facts.residuals) + recorder.facts.residuals_inside
        self._layers_before = recorder.facts.layers

    def get(self) -> Rule:
        """Return the rule."""
        if self._rule is not None:
            return self._rule
        if self._is_first:
            return self._options.input_rule
        depth = self._layers_before / max(self._facts.all_layers, 1)
        place = Place(self.path, self._residuals_before, depth, self.kind)
        return checked_rule("rule", self._options.rules.rule_at(place))


def record_linear(
    call: Call,
    output: Tensor,
    h: Tensor,
    source: Step,
    layer: Callable[[], LinearLayer],
    placed: PlacedRule,
    **facts: Any,
) -> Step:
    """Note that a layer made ``output`` of ``h``.

    Args:
        call: that has run.
        output: of the layer.
        h: its input, as it was saved, or not written over.
        source: the step that made ``h``.
        layer: makes it as the rule sees it, with the weights that it had.
        placed: the rule.
        facts: see :meth:`relsplit.lrp.recording.call.Call.record`; ``covers`` is False where entries lie outside of
            all windows, which no rule can conserve.
    """
    covers = facts.pop("covers", True)
    saved, support, nonnegative = call.save(h), source.support, source.nonnegative
    watch = call.recorder.watch
    constants_count = keeps_signs(call)  # with weights they are what a bias is

    def backward(relevance: Tensor) -> list[Tensor]:
        mask = None if support is None else support.to(relevance.dtype)
        value = saved.tensor.to(relevance.dtype)
        value = value if constants_count else where_supported(value, mask)
        propagate = placed.get().propagate
        if watch.parameters is not None:
            propagate = partial(watch.parameters.propagated, placed.path, placed.get())
        result = propagate(layer(), value, relevance, nonnegative=nonnegative, support=mask)
        return [where_supported(result, mask) if constants_count else result]

    return call.record(
        output,
        [source],
        backward,
        conserves=lambda: covers and placed.get().conserves,
        support=None if support is None else supported(layer().reach(support), mixes=placed.kind != "dense"),
        **facts,
    )
