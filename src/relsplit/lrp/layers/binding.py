"""From a module or function and its arguments to the linear layer that a rule sees."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.lrp.layers.convolution import Convolution
from relsplit.lrp.layers.dense import Dense
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.linear_map import LinearMap
from relsplit.lrp.layers.padded import Padded
from relsplit.lrp.layers.weights import SharedParts, WeightParts

Bind = Callable[..., LinearLayer]
"""Makes the layer from the arguments that the module or function is called with."""

_POOL_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")


def bind_convolution_module(module: Any) -> Bind:
    """Bind ``nn.Conv*d`` and ``nn.ConvTranspose*d``; other paddings than zeros are padded beforehand."""
    parts = SharedParts()
    stride: list[int] = list(module.stride)
    dilation: list[int] = list(module.dilation)
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        cropped = _tuple(module.padding, len(stride))
        added: list[int] = list(module.output_padding)

        def bind_transposed(*args: Any, **kwargs: Any) -> LinearLayer:
            return Convolution(
                module.weight, module.bias, stride, cropped, dilation, True, added, module.groups,
                parts.of(module.weight),
            )  # fmt: skip

        return bind_transposed

    padding, before, mode = _padding(module.padding, module.kernel_size, dilation)
    if module.padding_mode != "zeros":
        before, mode = list(module._reversed_padding_repeated_twice), module.padding_mode
        padding = [0] * len(stride)

    def bind(*args: Any, **kwargs: Any) -> LinearLayer:
        layer: LinearLayer = Convolution(
            module.weight, module.bias, stride, padding, dilation, False, [0] * len(stride), module.groups,
            parts.of(module.weight),
        )  # fmt: skip
        return Padded(layer, lambda x: F.pad(x, before, mode=mode)) if any(before) else layer

    return bind


def bind_convolution_function(name: str) -> Bind:
    """Bind ``F.conv*d`` and ``F.conv_transpose*d`` with whatever weights the graph computes."""
    parts = WeightParts()
    transposed = "transpose" in name
    order = ("stride", "padding", "output_padding", "groups", "dilation") if transposed else (
        "stride", "padding", "dilation", "groups",
    )  # fmt: skip

    def bind(*args: Any, **kwargs: Any) -> LinearLayer:
        given = dict(zip(("weight", "bias", *order), args[1:], strict=False)) | kwargs
        weight: Tensor = given["weight"]
        dims = weight.dim() - 2
        stride, dilation = (_tuple(given.get(key, 1), dims) for key in ("stride", "dilation"))
        padding, before, mode = _padding(given.get("padding", 0), tuple(weight.shape[2:]), dilation)
        layer: LinearLayer = Convolution(
            weight, given.get("bias"), stride, padding, dilation, transposed,
            _tuple(given.get("output_padding", 0), dims), given.get("groups", 1), parts,
        )  # fmt: skip
        return Padded(layer, lambda x: F.pad(x, before, mode=mode)) if any(before) else layer

    return bind


def bind_dense(module: Any) -> Bind:
    """Bind ``nn.Linear``."""
    parts = SharedParts()
    return lambda *args, **kwargs: Dense(module.weight, module.bias, parts.of(module.weight))


def bind_dense_function() -> Bind:
    """Bind ``F.linear``."""
    parts = WeightParts()

    def bind(*args: Any, **kwargs: Any) -> LinearLayer:
        given = dict(zip(("weight", "bias"), args[1:], strict=False)) | kwargs
        return Dense(given["weight"], given.get("bias"), parts)

    return bind


def bind_map(evaluate: Callable[..., Any]) -> Bind:
    """Bind average pooling, means and interpolation: the node's own function, all but its first argument fixed."""

    def bind(*args: Any, **kwargs: Any) -> LinearLayer:
        rest = args[1:]
        return LinearMap(lambda x: evaluate(x, *rest, **kwargs))

    return bind


def bind_bicubic(evaluate: Callable[..., Any]) -> Bind:
    """Bind bicubic interpolation as bilinear interpolation to the same size.

    Bicubic weights are negative in places; the pixels that an entry comes from are the same up to a margin.
    """

    def bind(*args: Any, **kwargs: Any) -> LinearLayer:
        size = evaluate(*args, **kwargs).shape[2:]
        return LinearMap(lambda x: F.interpolate(x, size, mode="bilinear", antialias=True))

    return bind


def bind_average_over_max_window(name: str, module: Any, *, two_by_two: bool) -> Bind:
    """Bind max pooling as the average over each window, or over the released code's 2x2 windows."""

    def bind(*args: Any, **kwargs: Any) -> LinearLayer:
        if name.startswith("adaptive"):
            size = module.output_size if module is not None else (*args[1:], *kwargs.values())[0]
            pool = getattr(F, name.replace("max", "avg"))
            return LinearMap(lambda x: pool(x, size))
        if name == "amax":
            return LinearMap(lambda x: torch.mean(x, *args[1:], **kwargs))
        if module is not None:
            given = {key: getattr(module, key) for key in _POOL_ARGUMENTS}
        else:
            given = dict(zip(_POOL_ARGUMENTS, args[1:], strict=False)) | kwargs
        dims = int(name[-2])
        kernel = _tuple(given["kernel_size"], dims)
        stride = _tuple(given.get("stride") or kernel, dims)
        padding, dilation = _tuple(given.get("padding", 0), dims), _tuple(given.get("dilation", 1), dims)
        ceil_mode = bool(given.get("ceil_mode", False))
        pool = getattr(F, f"avg_pool{dims}d")
        if two_by_two:
            # With padding, as in ResNet's 3x3/2/1 pooling, an odd last row or column is a window of its own.
            return LinearMap(lambda x: pool(x, 2, 2, 0, ceil_mode or any(padding)))
        if any(d != 1 for d in dilation):
            return LinearMap(lambda x: _box(x, kernel, stride, padding, dilation))
        return LinearMap(lambda x: pool(x, kernel, stride, padding, ceil_mode))

    return bind


def _box(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    box = x.new_ones(x.shape[1], 1, *kernel)
    return torch.convolution(x, box, None, stride, padding, dilation, False, [0] * len(kernel), x.shape[1])


def _tuple(value: Any, dims: int) -> list[int]:
    return [int(value)] * dims if isinstance(value, int) else [int(v) for v in value] * (dims // len(value))


def _padding(padding: Any, kernel: tuple[int, ...], dilation: list[int]) -> tuple[list[int], list[int], str]:
    """Return the convolution's own padding, and what to pad beforehand ("same" with an even kernel is lopsided)."""
    dims = len(kernel)
    if padding == "valid":
        return [0] * dims, [], "constant"
    if padding != "same":
        return _tuple(padding, dims), [], "constant"
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if all(total % 2 == 0 for total in totals):
        return [total // 2 for total in totals], [], "constant"
    before = [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
    return [0] * dims, before, "constant"
