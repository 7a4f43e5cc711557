"""Average pooling, means, sums, interpolation: linear maps with weights that are not negative."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.layers.linear_map import LinearMap
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.linear import PlacedRule, record_linear
from relsplit.lrp.recording.call import Call

MEANS = (
    "mean", "sum", "nansum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "col2im", "cumsum", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest3d",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d",
    "upsample_bilinear2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa", "grid_sampler_2d", "grid_sampler_3d",
)  # fmt: skip


@OPERATIONS.register(*MEANS)
def mean(call: Call) -> Any:
    """Carry relevance through average pooling, a mean, a sum, or interpolation."""
    h, rest, kwargs, func = call.args[0], call.kept(call.args[1:]), call.kwargs, call.func
    return linear_map(call, LinearMap(lambda x: func(x, *rest(), **kwargs)), h)


@OPERATIONS.register("upsample_bicubic2d", "_upsample_bicubic2d_aa")
def bicubic(call: Call) -> Any:
    """Bicubic interpolation, as bilinear interpolation to the same size.

    Bicubic weights are negative in places; the pixels that an entry comes from are the same up to a margin.
    """

    def bilinear(x: Tensor) -> Tensor:
        return F.interpolate(x, size, mode="bilinear", antialias=True)

    size: list[int] = call.func(*call.args, **call.kwargs).shape[2:]
    return linear_map(call, LinearMap(bilinear), call.args[0])


def linear_map(call: Call, layer: LinearMap, h: Tensor, covers: bool = True) -> Any:
    """Run an operation that is seen as ``layer``; the first of several outputs is the layer's."""
    source = call.step(h)
    if source is None or len(call.sources) != 1:
        return call.refuse("more than its first argument depends on the input")
    placed = PlacedRule(call, source, "mean")
    output = call.run()
    value = output if isinstance(output, Tensor) else output[0]
    if value.is_floating_point():
        record_linear(call, value, h, source, lambda: layer, placed, covers=covers, nonnegative=source.nonnegative)
    return output
