"""Values without the sign of what they are made of: contributions that keep their signs pass by the slope.

A sigmoid of -1 is positive, and a normalised value has whatever sign its bias gives it. Handed on unchanged, what such
a value contributes would be counted with the wrong sign below it. So it is multiplied by slope times input over value,
as gradients are; of a normalisation the deviation is held constant, because nothing could speak for a class through a
normalisation otherwise (its gradient times its input sums to 0). A constant that is added takes its part with it, as a
bias does: a map must not depend on whether a layer or the line below it adds it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import where_supported
from relsplit.lrp.options import Options
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Step
from relsplit.lrp.rules.quotient import signed_denominator

NORMALISATIONS = (
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm",
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_with_update",
    "_batch_norm_no_update", "cudnn_batch_norm", "miopen_batch_norm", "native_layer_norm", "native_group_norm",
    "_fused_rms_norm",
)  # fmt: skip
"""Operations that subtract a mean and divide by a deviation."""
_SHIFTED = (
    "sigmoid", "hardsigmoid", "softplus", "log_sigmoid_forward", "exp", "log", "reciprocal", "rsqrt",
    "softmax", "_softmax", "_safe_softmax", "_log_softmax",
)  # fmt: skip

_SUMS = ("add", "sub", "rsub")
"""Of an activation and a constant."""


def keeps_signs(call: Call) -> bool:
    """Say whether what is walked back are contributions that keep their signs."""
    return isinstance(call.options, Options) and call.options.by_slope  # absLRP has other options


def goes_by_slope(call: Call) -> bool:
    """Say whether contributions pass an operation by its slope."""
    return keeps_signs(call) and call.name in (*NORMALISATIONS, *_SHIFTED, *_SUMS)


def record_by_slope(call: Call, source: Step, **facts: Any) -> Any:
    """Run an operation, note that contributions pass it by its slope, and return what it returned.

    Args:
        call: of such an operation; one argument depends on the input, of a sum any, else the first.
        source: where they go.
        facts: see :meth:`relsplit.lrp.recording.call.Call.record`.
    """
    function, support = _function(call), source.support
    given = call.save(call.sources[0][0])
    output = call.run()

    def backward(relevance: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            values = given.tensor.to(relevance.dtype).requires_grad_()
            result = function(values)
        gradient = relevance / signed_denominator(result.detach(), 0.0)
        (slope,) = torch.autograd.grad(result, values, gradient)
        return [where_supported(values.detach() * slope, support)]

    value = output if isinstance(output, Tensor) else output[0]
    seen = None if support is None else support.broadcast_to(value.shape)
    call.record(value, [source], backward, conserves=False, support=seen, given=given, **facts)
    return output


def _function(call: Call) -> Callable[[Tensor], Tensor]:
    """Return the operation as a differentiable function of its input, other arguments as they are now."""
    if call.name in _SUMS:
        return _sum(call)
    if call.name in NORMALISATIONS:
        return _normalisation(call.name, call.given())
    rest, options, function = call.args[1:], dict(call.kwargs), call.func.overloadpacket
    options.pop("dtype", None)

    def applied(values: Tensor) -> Tensor:
        result = function(values.clone(), *rest, **options)  # it may be in place
        found: Tensor = result if isinstance(result, Tensor) else result[0]
        return found

    return applied


def _sum(call: Call) -> Callable[[Tensor], Tensor]:
    given, function = call.given(), getattr(torch.ops.aten, call.name)  # whatever is in place
    is_first = call.step(given["self"]) is not None
    constant = call.kept([given["other" if is_first else "self"]])

    def applied(values: Tensor) -> Tensor:
        summands = [values, *constant()] if is_first else [*constant(), values]
        result: Tensor = function(*summands, alpha=given["alpha"])
        return result

    return applied


def _normalisation(name: str, given: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    weight, bias = (
        None if part is None else part.detach().clone() for part in (given.get("weight"), given.get("bias"))
    )
    eps: Any = given.get("eps", given.get("epsilon"))
    by_channel = "layer" not in name and "rms" not in name
    takes_its_own = given.get("use_input_stats", given.get("training", "group" in name or "with_update" in name))
    constant = None
    if by_channel and not takes_its_own:
        constant = given["running_mean"].detach().clone(), given["running_var"].detach().clone()

    def applied(values: Tensor) -> Tensor:
        def shaped(part: Tensor) -> Tensor:
            part = part.to(values.dtype)
            return part.reshape(-1, *[1] * (values.dim() - 2)) if by_channel else part

        if constant is not None:
            mean, variance = (shaped(part) for part in constant)
            result = (values - mean) * (variance + eps).rsqrt()
        elif "rms" in name:
            dims = _last(values, given["normalized_shape"])
            least = torch.finfo(values.dtype).eps if eps is None else eps
            result = values * (values.detach().square().mean(dims, keepdim=True) + least).rsqrt()
        else:
            result = _held(values, name, given, eps)
        scaled: Tensor = result if weight is None else result * shaped(weight)
        return scaled if bias is None else scaled + shaped(bias)

    return applied


def _held(values: Tensor, name: str, given: dict[str, Any], eps: float) -> Tensor:
    """Return values less their mean, divided by their deviation as a constant."""
    grouped, dims = values, list(range(2, values.dim()))
    if "layer" in name:
        dims = _last(values, given["normalized_shape"])
    elif "group" in name:
        grouped = values.unflatten(1, (given.get("num_groups", given.get("group")), -1))
        dims = list(range(2, grouped.dim()))
    elif "batch" in name:
        dims = [0, *dims]
    variance = grouped.detach().var(dims, unbiased=False, keepdim=True)
    return ((grouped - grouped.mean(dims, keepdim=True)) * (variance + eps).rsqrt()).reshape(values.shape)


def _last(values: Tensor, shape: list[int]) -> list[int]:
    return list(range(values.dim() - len(shape), values.dim()))
