"""Quantised layers: relevance goes through them as through the layers whose numbers they hold.

The network's own kernels run, and their values are what is explained; what is noted is the same operation on the
numbers that quantised values and weights stand for.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.recording.call import Call, numbers

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}
"""That a kernel ends with, by what its name says."""


@OPERATIONS.register(
    *(f"quantized::linear{name}" for name in (
        "", "_relu", "_tanh", "_dynamic", "_relu_dynamic", "_dynamic_fp16", "_relu_dynamic_fp16",
    )),
)  # fmt: skip
def linear(call: Call) -> Any:
    """A fully connected layer with packed weights."""
    weight, bias = _unpacked(call.args[1], call.name.endswith("fp16"))
    return call.in_numbers(lambda x, *_: _activated(call.name, F.linear(x, weight, bias)))


@OPERATIONS.register(
    *(f"quantized::conv{dims}d{name}" for dims in (1, 2, 3) for name in ("", "_relu", "_dynamic")),
    *(f"quantized::conv_transpose{dims}d{name}" for dims in (1, 2, 3) for name in ("", "_dynamic")),
)
def convolution(call: Call) -> Any:
    """A convolution with packed weights."""
    packed, operations = call.args[1], torch.ops.quantized
    layer = call.name.removeprefix("quantized::").removesuffix("_relu").removesuffix("_dynamic")
    weight, bias = getattr(operations, f"{layer}_unpack")(packed)
    dims = weight.dim() - 2
    # One dimension is packed as two, of which the first is 1.
    stride, padding, dilation, output_padding = (
        getattr(operations, f"{layer.replace('1d', '2d')}_{name}")(packed)[-dims:]
        for name in ("stride", "padding", "dilation", "output_padding")
    )
    groups = getattr(operations, f"{layer.replace('1d', '2d')}_groups")(packed)
    settings = (stride, padding, dilation, "transpose" in layer, output_padding, groups)
    weight = numbers(weight)
    return call.in_numbers(lambda x, *_: _activated(call.name, torch.convolution(x, weight, bias, *settings)))


_PLAIN: dict[str, Callable[..., Tensor]] = {
    "add": lambda a, b, *_: torch.add(a, b),
    "mul": lambda a, b, *_: torch.mul(a, b),
    "cat": lambda parts, dim, *_: torch.cat(parts, dim),
    "matmul": lambda a, b, *_: a @ b,
    "add_scalar": lambda x, number, *_: x + number,
    "mul_scalar": lambda x, number, *_: x * number,
    "relu6": lambda x, *_: F.relu6(x),
    "dropout": lambda x, *_: x.clone(),
    "hardswish": lambda x, *_: F.hardswish(x),
    "leaky_relu": lambda x, slope, *_: F.leaky_relu(x, slope),
    "elu": lambda x, scale, zero_point, alpha=1, *_: F.elu(x, alpha),
    "prelu": lambda x, weight, *_: F.prelu(x, weight),
    "layer_norm": lambda x, shape, weight, bias, eps, *_: F.layer_norm(x, shape, weight, bias, eps),
    "group_norm": lambda x, groups, weight, bias, eps, *_: F.group_norm(x, groups, weight, bias, eps),
    "instance_norm": lambda x, weight, bias, eps, *_: F.instance_norm(x, None, None, weight, bias, True, 0.0, eps),
    **dict.fromkeys(
        ("batch_norm2d", "batch_norm3d"),
        lambda x, weight, bias, mean, variance, eps, *_: F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps),
    ),
}  # fmt: skip
"""By what their arguments stand for; scale and zero point of the result come last."""
_WITH_RELU = ("add", "mul", "add_scalar", "mul_scalar", "cat", "batch_norm2d", "batch_norm3d")


@OPERATIONS.register(
    *(f"quantized::{name}" for name in _PLAIN),
    *(f"quantized::{name}_relu" for name in _WITH_RELU),
)
def plain(call: Call) -> Any:
    """An operation of another name on numbers."""
    name = call.name.removeprefix("quantized::")
    function = _PLAIN[name if name in _PLAIN else name.removesuffix("_relu")]
    return call.in_numbers(lambda *values: _activated("relu" if name not in _PLAIN else "", function(*values)))


_PACKED = ("quantized_dynamic", "quantized_fp16")


@OPERATIONS.register("quantized_lstm", "quantized_gru")
def recurrent(call: Call) -> Any:
    """All steps of all layers, with packed weights."""
    given = call.given()
    packed = [cell.__getstate__()[0] for cell in given["params"]]
    if any(kind not in _PACKED for kind, *_ in packed):
        return call.refuse("its weights are packed in a way of their own")
    weights = [
        weight
        for kind, *_, layers in packed
        for weight in _in_order(_unpacked(layer, kind == "quantized_fp16") for layer in layers)
    ]
    function = torch.lstm if call.name == "quantized_lstm" else torch.gru
    settings = given["has_biases"], given["num_layers"], given["dropout"], given["train"], given["bidirectional"]
    if "batch_sizes" in given:
        arguments = given["data"], given["batch_sizes"], given["hx"], weights, *settings
    else:
        arguments = given["input"], given["hx"], weights, *settings, given["batch_first"]
    return call.in_numbers(lambda *_: function(*arguments))


_CELLS: dict[str, Callable[..., Any]] = {
    "lstm": torch.lstm_cell, "gru": torch.gru_cell, "rnn_tanh": torch.rnn_tanh_cell, "rnn_relu": torch.rnn_relu_cell
}  # fmt: skip


@OPERATIONS.register(*(f"quantized::quantized_{name}_cell_dynamic" for name in _CELLS))
def cell(call: Call) -> Any:
    """One step of one layer, with packed weights."""
    x, state, *packed = call.args[:4]
    weights = _in_order(_unpacked(each, is_half=False) for each in packed)
    function = _CELLS[call.name.removeprefix("quantized::quantized_").removesuffix("_cell_dynamic")]
    return call.in_numbers(lambda *_: function(x, state, *weights))


@OPERATIONS.register("quantized::embedding_byte", "quantized::embedding_4bit")
def embedding(call: Call) -> Any:
    """A packed table of vectors that is looked up by tokens."""
    table = numbers(torch.ops.quantized.embedding_bag_unpack(call.args[0]))
    return call.in_numbers(lambda _, tokens, *rest: F.embedding(tokens, table))


def _in_order(layers: Iterable[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """Return the weights on the input and on the state, and their biases if there are any, as recurrent layers do."""
    weights, biases = zip(*layers, strict=True)
    return [*weights, *(bias for bias in biases if bias is not None)]


def _unpacked(packed: Any, is_half: bool) -> tuple[Tensor, Tensor | None]:
    operations = torch.ops.quantized
    weight, bias = (operations.linear_unpack_fp16 if is_half else operations.linear_unpack)(packed)
    return numbers(weight).float(), None if bias is None else bias.detach()


def _activated(name: str, output: Tensor) -> Tensor:
    for activation, function in _ACTIVATIONS.items():
        if f"_{activation}" in f"_{name}":
            return function(output)
    return output
