"""Max pooling (and the least of several): as an average over each window, or the winner takes all."""

from typing import Any, NamedTuple

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
    if call.name not in WINDOWED:
        return linear_map(call, _average(call), call.args[0])
    windows = _windows(call)
    two_by_two = choice == "average_2x2"
    if two_by_two:
        lengths, halving = call.args[0].shape[-len(windows) :], _halving(windows)
        if any(each.count(length) != halving.count(length) for each, length in zip(windows, lengths, strict=True)):
            return call.refuse('max_pool="average_2x2" is for pools that halve their input, "average" for all')
        windows = [halving] * len(windows)
    return linear_map(call, _average_over(windows, call.args[0]), call.args[0], covers=not two_by_two)


@OPERATIONS.register("aminmax")
def both_ends(call: Call) -> Any:
    """The least and the greatest at once."""
    given = call.given()
    dims = [] if given["dim"] is None else given["dim"]
    with call.recorder:
        return torch.amin(given["self"], dims, given["keepdim"]), torch.amax(given["self"], dims, given["keepdim"])


def _average(call: Call) -> LinearMap:
    given, name = call.given(), call.name
    if name in ADAPTIVE:
        pool, size = getattr(F, name.replace("max", "avg")), given["output_size"]
        return LinearMap(lambda x: pool(x, size))
    dim, keepdim = given.get("dim"), given.get("keepdim", False)
    whole = dim is None or dim == []
    return LinearMap(lambda x: x.mean() if whole else x.mean(dim, keepdim))


def _windows(call: Call) -> "list[Window]":
    given, dims = call.given(), int(call.name[len("max_pool")])
    kernel = each_dimension(given["kernel_size"], dims)
    stride = each_dimension(given["stride"] or kernel, dims)
    padding, dilation = (each_dimension(given[name], dims) for name in ("padding", "dilation"))
    return [Window(*each, given["ceil_mode"]) for each in zip(kernel, stride, padding, dilation, strict=True)]


def _halving(windows: "list[Window]") -> "Window":
    """The released code's 2x2 windows; with padding, as in ResNet's 3x3/2/1 pooling, an odd last row is one, too."""
    return Window(2, 2, 0, 1, any(window.ceil_mode or window.padding for window in windows))


def _average_over(windows: "list[Window]", h: Tensor) -> LinearMap:
    dims = len(windows)
    # Average pooling knows no dilation, and in three dimensions no window wider than what it is given.
    is_wider = any(length < window.size for length, window in zip(h.shape[-dims:], windows, strict=True))
    if any(window.dilation != 1 for window in windows) or (dims == 3 and is_wider):
        return LinearMap(lambda x: _box(x, windows))
    pool = getattr(F, f"avg_pool{dims}d")
    kernel, stride, padding = ([getattr(window, name) for window in windows] for name in ("size", "stride", "padding"))
    return LinearMap(lambda x: pool(x, kernel, stride, padding, windows[0].ceil_mode))


class Window(NamedTuple):
    """A pool's window along one dimension."""

    size: int
    stride: int
    padding: int
    dilation: int
    ceil_mode: bool

    def count(self, length: int) -> int:
        """Return how many windows there are of ``length`` entries."""
        free = length + 2 * self.padding - self.dilation * (self.size - 1) - 1
        count = (free + (self.stride - 1 if self.ceil_mode else 0)) // self.stride + 1
        begins_behind = self.ceil_mode and (count - 1) * self.stride >= length + self.padding
        return count - 1 if begins_behind else count

    def ends(self, length: int) -> tuple[int, int]:
        """Return how many entries are put before and behind ``length`` of them; fewer than 0 are left out."""
        reach = (self.count(length) - 1) * self.stride + self.dilation * (self.size - 1) + 1
        return self.padding, reach - length - self.padding


def _box(x: Tensor, windows: list[Window]) -> Tensor:
    """The sum over each window: an average but for a factor that no rule sees."""
    dims = len(windows)
    lengths = x.shape[-dims:]
    ends = [window.ends(length) for window, length in zip(windows, lengths, strict=True)]
    padded = F.pad(x.reshape(-1, 1, *lengths), [each for pair in reversed(ends) for each in pair])
    box = x.new_ones(1, 1, *(window.size for window in windows))
    stride, dilation = [window.stride for window in windows], [window.dilation for window in windows]
    none = [0] * dims
    sums = torch.convolution(padded, box, None, stride, none, dilation, False, none, 1)
    return sums.reshape(*x.shape[:-dims], *sums.shape[2:])


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
