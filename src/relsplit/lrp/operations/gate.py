"""An elementwise product of two activations: a gated signal takes all, its gate nothing; equals share."""

from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import union
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.pass_through import record_unchanged
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Saved, Step


@OPERATIONS.register("mul")
def gate(call: Call) -> Any:
    """Pass relevance to the signal: the factor that is no gate or, if none is known to be one, the greater factor.

    Two factors of equal size take a half each (the uniform rule of Achtibat et al. 2024). A constant factor takes
    nothing, and where it is the zero of a mask, the product is a constant as well.
    """
    given = call.given()
    factors = [(tensor, call.step(tensor)) for tensor in (given["self"], given["other"])]
    found = [(tensor, step) for tensor, step in factors if step is not None]
    signals = _signals(found)
    shapes = [tensor.shape for tensor, _ in signals]
    alone = len(found) == 1
    output = call.run()
    if not call.carries(output):
        return output
    call.record(
        output,
        [step for _, step in signals],
        lambda relevance: (
            [(relevance / len(shapes)).sum_to_size(shape) for shape in shapes]
            if len(shapes) > 1
            else [relevance.sum_to_size(shapes[0])]
        ),
        nonnegative=not alone and all(step.nonnegative for _, step in found),
        is_gate=alone and found[0][1].is_gate,
        is_attention=alone and found[0][1].is_attention,
        factors=_constant(call, next(tensor for tensor, step in factors if step is None)) if alone else None,
        support=_masked(call, union([step.support for _, step in signals], output.shape), factors, output.shape),
    )
    return output


def _constant(call: Call, factor: Any) -> tuple[float | Saved] | None:
    """Return a constant factor as it is now, of which the way back asks for the sign; of complex numbers none."""
    if isinstance(factor, Tensor):
        return None if factor.is_complex() else (call.save(factor),)
    return None if isinstance(factor, complex) else (float(factor),)


def _masked(
    call: Call, support: Tensor | None, factors: list[tuple[Any, Step | None]], shape: torch.Size
) -> Tensor | None:
    """Return where a product depends on the input: not where it is multiplied by a mask's zero."""
    for mask, step in factors:
        if step is None and isinstance(mask, Tensor) and mask.dim() and _may_be_mask(call, mask):
            is_open = mask != 0
            # While kernels are recorded for a CUDA graph, nothing can be asked.
            is_asked = not is_open.is_cuda or not torch.cuda.is_current_stream_capturing()
            if is_asked and (bool(is_open.all()) or not bool(is_open.any())):
                continue
            return (is_open.broadcast_to(shape) if support is None else is_open & (support > 0)).float()
    return support


def _may_be_mask(call: Call, tensor: Tensor) -> bool:
    # ``x * (x > 0)`` is a ReLU, whose zeros are values like any other.
    return not call.recorder.is_weight(tensor) and not call.recorder.is_choice(tensor)


def _signals(factors: list[tuple[Tensor, Step]]) -> list[tuple[Tensor, Step]]:
    if len(factors) == 1:
        return factors
    known = [factor for factor in factors if not factor[1].is_gate]
    if len(known) == 1:
        return known
    (first, _), (second, _) = factors
    if first.numel() == second.numel():
        return factors
    return factors[:1] if first.numel() > second.numel() else factors[1:]


@OPERATIONS.register("div")
def quotient(call: Call) -> Any:
    """Pass relevance to the numerator: what an activation is divided by only scales it."""
    given = call.given()
    numerator = call.step(given["self"])
    tensor = given["self"] if numerator is not None else given["other"]
    source = numerator or call.sources[0][1]
    shape = tensor.shape
    others = [step for _, step in call.sources if step is not source]
    output = call.run()
    if not call.carries(output):
        return output
    record_unchanged(
        call,
        output,
        source,
        shape,
        is_gate=source.is_gate,
        is_attention=source.is_attention,
        nonnegative=source.nonnegative and bool(others) and all(step.nonnegative for step in others),
        factors=_constant(call, given["other"]) if numerator is not None and not others else None,
    )
    return output


@OPERATIONS.register("addcmul", "addcdiv", "lerp", "glu")
def written_out(call: Call) -> Any:
    """Compound arithmetic, by the plain operations that it is made of."""
    given = call.given()
    first = given["self"]
    with call.recorder:
        if call.name == "glu":
            signal, gate = first.chunk(2, given["dim"])
            result = signal * gate.sigmoid()
        elif call.name == "lerp":
            result = first * (1 - given["weight"]) + given["end"] * given["weight"]
        else:
            one, other, value = given["tensor1"], given["tensor2"], given["value"]
            product = one * other if call.name == "addcmul" else one / other
            result = first + (product if value == 1 else product * value)
        return first.copy_(result) if call.is_in_place else result
