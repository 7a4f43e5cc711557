"""Activation, normalisation, dropout, conversion: relevance goes through unchanged."""

from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.by_slope import NORMALISATIONS, goes_by_slope, record_by_slope
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Step

_ACTIVATIONS = (
    "relu", "relu6", "hardtanh", "leaky_relu", "rrelu_with_noise", "elu", "celu", "selu", "gelu", "silu", "mish",
    "tanh", "hardswish", "hardsigmoid", "sigmoid", "log_sigmoid_forward", "softplus", "threshold", "hardshrink",
    "softshrink", "_prelu_kernel", "_log_softmax", "erf", "erfc", "atan", "asinh", "log1p", "expm1", "sin", "cos",
    "sinh", "cosh", "nan_to_num", "tan", "asin", "acos", "acosh", "atanh", "erfinv", "logit", "sinc",
)  # fmt: skip
_ELEMENTWISE = (
    "clamp", "clamp_min", "clamp_max", "neg", "pow", "square", "sqrt", "rsqrt", "exp", "exp2", "log", "log2", "log10",
    "abs", "reciprocal", "clone", "_to_copy", "native_dropout", "contiguous",
)  # fmt: skip
_ROUNDED = (
    "quantize_per_tensor", "quantize_per_tensor_dynamic", "dequantize", "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams", "fake_quantize_per_channel_affine_cachemask",
    "_fused_moving_avg_obs_fq_helper",
)  # fmt: skip
"""Of quantised networks: numbers that are rounded, and what they stand for."""
_GATES = {"sigmoid", "hardsigmoid", "tanh"}
_NONNEGATIVE = {"relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "exp", "abs", "square", "sqrt", "rsqrt"}
_FALLING = {"neg", "reciprocal", "rsqrt", "erfc", "acos"}
_BOUNDED = ("clamp", "clamp_min", "clamp_max")
_SIGN_KEEPING = {"clone", "_to_copy", "native_dropout", "clamp_min", "contiguous", *_ROUNDED}


@OPERATIONS.register(*_ACTIVATIONS, *NORMALISATIONS, *_ELEMENTWISE, *_ROUNDED)
def pass_through(call: Call) -> Any:
    """Pass relevance on to the one input, of the first of several outputs."""
    if call.name in _BOUNDED and len(call.sources) > 1:
        return _between(call)
    if len(call.sources) != 1:
        return call.refuse("several of its arguments depend on the input")
    tensor, source = call.sources[0]
    if goes_by_slope(call):
        is_gate = call.name in _GATES
        facts = {"nonnegative": call.name in _NONNEGATIVE, "is_gate": is_gate, "is_attention": is_gate}
        return record_by_slope(call, source, **facts)
    shape = tensor.shape
    output = call.run()
    value = output if isinstance(output, Tensor) else output[0]
    if not call.carries(value):
        return output
    keeps = call.name in _SIGN_KEEPING
    record_unchanged(
        call,
        value,
        source,
        shape,
        nonnegative=call.name in _NONNEGATIVE or _is_cut_at_zero(call) or (keeps and source.nonnegative),
        is_gate=call.name in _GATES or (keeps and source.is_gate),
        is_attention=call.name in _GATES or (keeps and source.is_attention),
        factors=_factors(call, tensor),
    )
    return output


def _factors(call: Call, tensor: Tensor) -> tuple[float] | None:
    """Return the sign with which a constant is added to an activation, or it falls; see :class:`Step`."""
    if call.name in _FALLING:
        return (-1.0,)
    if call.name not in ("add", "sub", "rsub"):
        return None
    first, second = factors_of_sum(call)
    factor = first if tensor is call.given()["self"] else second
    return (factor,) if factor < 0 else None


def factors_of_sum(call: Call) -> tuple[float, float]:
    """Return what the two arguments of an addition or subtraction are multiplied by before they are added."""
    alpha: float = call.given().get("alpha", 1)
    return {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[call.name]


def _between(call: Call) -> Any:
    """Entries that are cut off by activations: the greatest or the least of two."""
    given = call.given()
    result = given["self"]
    with call.recorder:
        for bound, choose in ((given.get("min"), torch.maximum), (given.get("max"), torch.minimum)):
            if bound is not None:
                result = choose(result, bound)
        return given["self"].copy_(result) if call.is_in_place else result


def record_unchanged(call: Call, output: Tensor, source: Step, shape: torch.Size, **facts: Any) -> None:
    """Note that relevance of ``output`` goes on unchanged, summed where a source of ``shape`` was broadcast.

    Args:
        call: that has run.
        output: of the operation.
        source: where relevance goes.
        shape: of the source.
        facts: see :meth:`relsplit.lrp.recording.call.Call.record`.
    """
    support = None if source.support is None else source.support.broadcast_to(output.shape)
    call.record(output, [source], lambda relevance: [relevance.sum_to_size(shape)], support=support, **facts)


def _is_cut_at_zero(call: Call) -> bool:
    if call.name not in ("hardtanh", "clamp", "clamp_min"):
        return False
    lowest = call.given().get("min_val" if call.name == "hardtanh" else "min")
    return isinstance(lowest, (int, float)) and lowest >= 0


@OPERATIONS.register("alias", "detach", "lift", "lift_fresh", "view_as_real", "set", "_version")
def another_name(call: Call) -> Any:
    """Another name of the same memory: whoever holds it is found by that."""
    return call.run()


@OPERATIONS.register(
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_empty", "new_full", "new_empty_strided", "sign", "sgn", "floor", "ceil", "round", "trunc", "heaviside",
    "bernoulli", "eq", "ne", "lt", "le", "gt", "ge", "argmax", "argmin", "argsort", "isnan", "isfinite", "isinf",
    "logical_not", "logical_and", "logical_or", "bitwise_not", "bitwise_and", "bitwise_or", "any", "all", "nonzero",
    "equal", "is_same_size", "_local_scalar_dense", "item", "sym_size", "_assert_async", "_assert_scalar",
    "zero", "fill", "normal", "uniform", "exponential", "random",
)  # fmt: skip
def constant(call: Call) -> Any:
    """What only looks at its input, is constant but for jumps, or fills memory: to everything after it, a constant."""
    output = call.run()
    if call.is_in_place:
        call.recorder.holders.write(output, None)
    elif isinstance(output, Tensor) and not call.is_of_tokens:
        call.recorder.note_choice(output)
    return output


@OPERATIONS.register("copy")
def copied(call: Call) -> Any:
    """``copy_`` writes one tensor over another: whatever was there is gone."""
    given = call.given()
    source, tensor = call.step(given["src"]), given["src"]
    output = call.run()
    if source is None:
        call.recorder.holders.write(output, None)
        return output
    record_unchanged(
        call,
        output,
        source,
        tensor.shape,
        nonnegative=source.nonnegative,
        is_gate=source.is_gate,
        is_attention=source.is_attention,
    )
    return output
