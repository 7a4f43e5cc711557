"""Regions of a feature map, pooled to one size: linear in the map; where the regions lie is a choice."""

from typing import Any

from relsplit.lrp.layers.linear_map import LinearMap
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.linear import PlacedRule, record_linear
from relsplit.lrp.recording.call import Call


@OPERATIONS.register("torchvision::roi_align", "torchvision::ps_roi_align", "torchvision::ps_roi_pool")
def regions(call: Call) -> Any:
    """Interpolation or means within regions; regions that depend on the input receive nothing."""
    h, source = call.args[0], call.step(call.args[0])
    if source is None:
        return call.refuse("its regions depend on the input, its feature map does not")
    rest, kwargs, func = call.kept(call.args[1:]), call.kwargs, call.func

    def pooled(x: Any) -> Any:
        output = func(x, *(each.to(x.dtype) if hasattr(each, "dtype") else each for each in rest()), **kwargs)
        return output if call.name == "torchvision::roi_align" else output[0]

    placed = PlacedRule(call, source, "mean")
    output = call.run()
    value = output if call.name == "torchvision::roi_align" else output[0]
    record_linear(call, value, h, source, lambda: LinearMap(pooled), placed, nonnegative=source.nonnegative)
    return output
