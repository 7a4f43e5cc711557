"""Convolutions, transposed or not."""

from typing import Any

from relsplit.lrp.layers.convolution import Convolution
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.linear import PlacedRule, record_linear
from relsplit.lrp.recording.call import Call


@OPERATIONS.register(
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
    "_convolution",
)  # fmt: skip
def convolution(call: Call) -> Any:
    """Carry relevance through a convolution by its rule."""
    given = call.given()
    h, weight = given["input"], given["weight"]
    dims = weight.dim() - 2
    if isinstance(given["padding"], str) or h.dim() != weight.dim():
        return call.decompose()  # into padding and a convolution, or a batch of one
    if len(call.sources) != 1 or call.step(h) is None:
        return call.refuse("its weights depend on the input")
    source = call.sources[0][1]
    placed = PlacedRule(call, source, "convolution", weight=weight)
    call.recorder.facts.layers += 1
    output = call.run()
    kept, groups = call.kept([weight, given["bias"]]), given["groups"]
    stride, padding, dilation = (each_dimension(given[name], dims) for name in ("stride", "padding", "dilation"))
    transposed = given.get("transposed", "transpose" in call.name)
    output_padding = each_dimension(given.get("output_padding", 0), dims)

    def layer() -> Convolution:
        kernel, bias = kept()
        return Convolution(kernel, bias, stride, padding, dilation, transposed, output_padding, groups)

    record_linear(call, output, h, source, layer, placed, is_layer=True, is_attention=source.is_attention)
    return output


def each_dimension(value: Any, dims: int) -> list[int]:
    """Return an option of a layer, one number for all ``dims`` dimensions or one for each, as the latter."""
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values
