"""Fully connected layers, and products of two matrices: attention weights times values, or the like."""

from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import supported, where_supported
from relsplit.lrp.layers.dense import Dense
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.matrix_product import MatrixProduct
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.linear import PlacedRule, made_in_full, of_type, record_linear
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.recorder import Attended
from relsplit.lrp.recording.step import Step


@OPERATIONS.register("linear")
def linear(call: Call) -> Any:
    """A fully connected layer, as inference mode has it."""
    given = call.given()
    return _layer(call, given["input"], given["weight"], given["bias"])


@OPERATIONS.register("addmm", "addmv", "baddbmm", "addbmm", "_addmm_activation")
def sum_with_product(call: Call) -> Any:
    """``beta * self + alpha * first @ second``: a fully connected layer where self and second are constant."""
    given = call.given()
    summand = given["self"]
    factors = ("mat1", "mat2", "batch1", "batch2", "mat", "vec")
    first, second = [value for name, value in given.items() if name in factors]
    plain = given["beta"] == 1 and given["alpha"] == 1 and call.name == "addmm"
    if plain and call.step(second) is None and call.step(summand) is None and not call.is_in_place:
        return _layer(call, first, second.mT, summand)
    with call.recorder:
        product = first @ second
        if call.name == "addbmm":
            product = product.sum(0)
        if given["alpha"] != 1:
            product = product * given["alpha"]
        result = (summand if given["beta"] == 1 else summand * given["beta"]) + product
        if call.name == "_addmm_activation":
            result = torch.nn.functional.gelu(result) if given["use_gelu"] else torch.relu(result)
        return summand.copy_(result) if call.is_in_place else result


def _layer(call: Call, h: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
    """A fully connected layer with ``weight`` (O, I) on the last dimension of ``h``."""
    source = call.step(h)
    if source is None or len(call.sources) != 1:
        return call.refuse("its weights depend on the input")
    placed = PlacedRule(call, source, "dense", weight=weight)
    call.recorder.facts.layers += 1
    output = call.run()
    weights = call.kept([weight, bias])
    record_linear(
        call, output, h, source, lambda: Dense(*weights()), placed, is_layer=True, is_attention=source.is_attention
    )
    return output


@OPERATIONS.register("mm", "bmm", "mv", "dot")
def product(call: Call) -> Any:
    """A product by a constant is a layer, one of two activations passes relevance as the option ``attention`` says."""
    given = call.given()
    first, second = [value for name, value in given.items() if name in ("self", "mat2", "vec", "tensor")]
    of_first, of_second = call.step(first), call.step(second)
    if call.name == "mm" and of_second is None:
        return _layer(call, first, second.mT, None)
    if call.name in ("mv", "dot"):
        with call.recorder:  # as matrices of one column or row
            row = first if call.name == "mv" else first.unsqueeze(0)
            result = (row @ second.unsqueeze(1)).squeeze(1)
            return result if call.name == "mv" else result.squeeze(0)
    if of_first is not None and of_second is not None:
        return _of_two(call, (first, second), (of_first, of_second))
    comes_first = of_first is None
    h, weights, source = (second, first, of_second) if comes_first else (first, second, of_first)
    assert source is not None, "an operation without a source is not handled"
    placed = PlacedRule(call, source, "dense", weight=weights)
    output = call.run()
    kept = call.kept([weights])
    record_linear(call, output, h, source, lambda: MatrixProduct(kept()[0], comes_first), placed)
    return output


def _of_two(call: Call, factors: tuple[Tensor, Tensor], steps: tuple[Step, Step]) -> Any:
    attention = call.options.attention
    receivers: tuple[int, ...] = (0, 1)
    signals = _signals(steps)
    if len(signals) == 1:
        steps[1 - signals[0]].is_attention_weights = True
        receivers = (0, 1) if attention.to_weights else (signals[0],)
    output = call.run()
    saved = tuple(call.save(factor) for factor in factors)
    made = made_in_full(call, output, "dense") if getattr(attention.rule, "reads_output", False) else None
    if call.recorder.attentions is not None and signals == [1]:
        weights, value = (factor.detach() for factor in factors)
        call.recorder.attentions.append(Attended(lambda: weights, value, output))
    facts = [(steps[place].support, steps[place].nonnegative) for place in (0, 1)]

    def layer_of(place: int, dtype: torch.dtype) -> LinearLayer:
        return MatrixProduct(saved[1 - place].tensor.to(dtype), comes_first=place == 1)

    def backward(relevance: Tensor) -> list[Tensor]:
        parts = [relevance]
        if len(receivers) > 1:  # a rule may write over what it gets
            parts = [relevance / 2, relevance / 2 if torch.is_grad_enabled() else relevance.div_(2)]
        result = []
        for place, part in zip(receivers, parts, strict=True):
            support, nonnegative = facts[place]
            mask = None if support is None else support.to(relevance.dtype)
            value = where_supported(saved[place].tensor.to(relevance.dtype), mask)
            layer = layer_of(place, relevance.dtype)
            layer.output = of_type(made, relevance.dtype) if mask is None else None
            result.append(attention.rule.propagate(layer, value, part, nonnegative=nonnegative, support=mask))
        return result

    call.record(
        output,
        [steps[place] for place in receivers],
        backward,
        conserves=attention.rule.conserves,
        support=_support(
            [(layer_of(place, output.dtype), factors[place], facts[place][0]) for place in receivers],
            mixes=len(signals) == 1,
        )
        if any(support is not None for support, _ in facts)
        else None,
    )
    return output


def _signals(steps: tuple[Step, Step]) -> list[int]:
    """Return which factors hold values: all that are further from a gate than the other, which weighs them."""
    # The values may have gone through a gate as well, much earlier: what comes straight from one is the weights.
    nearness = [2 if step.is_gate else 1 if step.is_attention else 0 for step in steps]
    return [place for place in (0, 1) if nearness[place] < nearness[1 - place] or nearness == [0, 0]]


def _support(receivers: list[tuple[LinearLayer, Tensor, Tensor | None]], mixes: bool) -> Tensor | None:
    """Return what receivers reach, each with its layer and its support; weights of 0 (a closed row) reach nothing."""
    reached: Tensor | None = None
    for layer, factor, support in receivers:
        seen = layer.reach(torch.ones_like(factor) if support is None else support.to(factor.dtype))
        reached = seen if reached is None else reached | seen
    return None if reached is None else supported(reached, mixes)
