"""Layers that are linear in their input, and the rule that carries relevance through each."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import supported, where_supported
from relsplit.lrp.layers.dense import Dense, on_rows, rows_with_relevance
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.operations.by_slope import keeps_signs
from relsplit.lrp.options import Options
from relsplit.lrp.precision import is_in_full
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Negation, Saved, Step
from relsplit.lrp.rules.choice import checked_rule
from relsplit.lrp.rules.negated import Negated
from relsplit.lrp.rules.rule import LayerKind, Place, Rule, reads_output


class PlacedRule:
    """The rule of a layer, chosen when relevance comes by: how deep the layer lies is known at the end only.

    Args:
        call: of the layer, before it runs.
        source: the layer's input.
        kind: of the layer.
        weight: with its outputs first; None: it has none.
    """

    def __init__(self, call: Call, source: Step, kind: LayerKind, weight: Tensor | None = None) -> None:
        recorder = call.recorder
        self._facts = recorder.facts
        self._options: Options = recorder.options
        is_first = kind != "mean" and recorder.ancestry.layers_before[source.index] == 0
        self._fixed: Rule | None = self._options.input_rule if is_first else None
        self.kind: LayerKind = kind
        self.path = recorder.path()
        self._residuals_before = len(recorder.facts.residuals) + recorder.facts.residuals_inside
        self._layers_before = recorder.facts.layers
        self._inputs = 0 if weight is None or not len(weight) else weight[0].numel()
        self._nonnegative, self._device = source.nonnegative, call.sources[0][0].device.type

    def get(self) -> Rule:
        """Return the rule."""
        if self._fixed is not None:
            return self._fixed
        depth = self._layers_before / max(self._facts.all_layers, 1)
        return checked_rule("rule", self._options.rules.rule_at(self._at(depth)))

    def reads_output(self) -> bool:
        """Say, while the network runs, whether the rule may use what the layer made."""
        if self.kind == "mean":
            return False  # it costs little, and a maximum is seen as the mean that it is not
        return reads_output(self._options.rules if self._fixed is None else self._fixed, self._at(math.nan))

    def _at(self, depth: float) -> Place:
        facts = self._nonnegative, self._device, self._inputs
        return Place(self.path, self._residuals_before, depth, self.kind, *facts)


def made_in_full(call: Call, output: Tensor, kind: LayerKind) -> Saved | None:
    """Save what a layer made, for a rule that uses it; None where it was rounded more than the way back is."""
    return call.save(output) if is_in_full(output.device, kind == "convolution") else None


def of_type(made: Saved | None, dtype: torch.dtype) -> Tensor | None:
    """Return what a layer made, None where it was made in another precision than ``dtype``, or not kept."""
    return None if made is None or made.tensor.dtype != dtype else made.tensor


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
    is_whole = constants_count or support is None
    made = made_in_full(call, output, placed.kind) if is_whole and placed.reads_output() else None

    negation = Negation(
        lambda numbers: layer().spread(numbers, None, saved.tensor.to(numbers.dtype)), placed.kind != "mean"
    )

    def backward(relevance: Tensor) -> list[Tensor]:
        mask = None if support is None else support.to(relevance.dtype)
        value = saved.tensor.to(relevance.dtype)
        value = value if constants_count else where_supported(value, mask)

        def by(rule: Rule, part: Tensor) -> Tensor:
            propagate = rule.propagate
            if watch.parameters is not None:
                propagate = partial(watch.parameters.propagated, placed.path, rule)
            seen = layer()
            seen.output = of_type(made, part.dtype)
            rows = rows_with_relevance(part) if mask is None and isinstance(seen, Dense) else None
            if rows is None:
                return propagate(seen, value, part, nonnegative=nonnegative, support=mask)
            return on_rows(partial(propagate, nonnegative=nonnegative, support=None), seen, value, part, rows)

        rule, entries = placed.get(), negation.entries
        if entries is None:
            result = by(rule, relevance)
        else:
            result = by(rule, torch.where(entries, 0, relevance))
            result = result + by(Negated(rule), torch.where(entries, relevance, 0))
        return [where_supported(result, mask) if constants_count else result]

    return call.record(
        output,
        [source],
        backward,
        conserves=lambda: covers and placed.get().conserves,
        negation=negation,
        support=None if support is None else supported(layer().reach(support), mixes=placed.kind != "dense"),
        **facts,
    )
