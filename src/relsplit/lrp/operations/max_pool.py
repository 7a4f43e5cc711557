"""Max pooling (and the least of several): as an average over each window, or the winner takes all."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.arithmetic import supported
from relsplit.lrp.layers.linear_map import LinearMap
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.convolution import each_dimension
from relsplit.lrp.operations.mean import linear_map
from relsplit.lrp.recording.call import Call

WINDOWED = ("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
ADAPTIVE = ("adaptive_max_pool2d", "adaptive_max_pool3d")
REGIONS = "torchvision::roi_pool"
"""Regions are of all sizes: there are no windows to average over."""


@OPERATIONS.register(*WINDOWED, *ADAPTIVE, "amax", "max", "amin", "min", REGIONS)
def max_pool(call: Call) -> Any:
    """Carry relevance through max pooling as the option ``max_pool`` says."""
    if call.name in ("max", "min") and len(call.args) > 1 and isinstance(call.args[1], Tensor):
        with call.recorder:
            return (torch.maximum if call.name == "max" else torch.minimum)(*call.args)
    choice = call.options.max_pool
    if choice == "winner" or call.name == REGIONS:
        return _winner(call)
    two_by_two = choice == "average_2x2" and call.name in WINDOWED
    return linear_map(call, _average(call, two_by_two), call.args[0], covers=not two_by_two)


def _average(call: Call, two_by_two: bool) -> LinearMap:
    """The average over the same windows, or over the released code's 2x2 windows."""
    given, name = call.given(), call.name
    if name in ADAPTIVE:
        pool, size = getattr(F, name.replace("max", "avg")), given["output_size"]
        return LinearMap(lambda x: pool(x, size))
    if name in ("amax", "max", "amin", "min"):
        dim, keepdim = given.get("dim"), given.get("keepdim", False)
        whole = dim is None or dim == []
        return LinearMap(lambda x: x.mean() if whole else x.mean(dim, keepdim))
    dims = int(name[len("max_pool")])
    kernel = each_dimension(given["kernel_size"], dims)
    stride = each_dimension(given["stride"] or kernel, dims)
    padding, dilation = each_dimension(given["padding"], dims), each_dimension(given["dilation"], dims)
    ceil_mode = given["ceil_mode"]
    pool = getattr(F, f"avg_pool{dims}d")
    if two_by_two:
        # With padding, as in ResNet's 3x3/2/1 pooling, an odd last row or column is a window of its own.
        return LinearMap(lambda x: pool(x, 2, 2, 0, ceil_mode or any(padding)))
    if any(each != 1 for each in dilation):
        return LinearMap(lambda x: _box(x, kernel, stride, padding, dilation))
    return LinearMap(lambda x: pool(x, kernel, stride, padding, ceil_mode))


def _box(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    box = x.new_ones(x.shape[1], 1, *kernel)
    return torch.convolution(x, box, None, stride, padding, dilation, False, [0] * len(kernel), x.shape[1])


def _winner(call: Call) -> Any:
    """The winner of each window takes all."""
    (h, source), rest, kwargs, func = call.sources[0], call.args[1:], call.kwargs, call.func
    is_least = call.name in ("amin", "min")

    def values(x: Tensor) -> Tensor:
        output = func(x, *rest, **kwargs)
        return output if isinstance(output, Tensor) else output[0]

    output = call.run()
    value = output if isinstance(output, Tensor) else output[0]
    saved, support = call.save(h), source.support

    def backward(relevance: Tensor) -> list[Tensor]:
        seen = saved.tensor.to(relevance.dtype)
        if support is not None:
            seen = seen.masked_fill(support == 0, torch.inf if is_least else -torch.inf)
        in_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            variable = seen.detach().requires_grad_()  # which one wins has no gradient
            return list(torch.autograd.grad(values(variable), variable, relevance, create_graph=in_graph))

    sign = -1 if is_least else 1
    reached = None if support is None else supported(sign * values(sign * support.to(h.dtype)) > 0)
    call.record(value, [source], backward, nonnegative=source.nonnegative, support=reached)
    return output
