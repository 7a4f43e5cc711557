"""Convolutions, transposed or not."""

from typing import Any

from relsplit.lrp.layers.convolution import Convolution
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.linear import PlacedRule, record_linear
from relsplit.lrp.recording.recorder import Call


@OPERATIONS.register("convolution", "_convolution")
def convolution(call: Call) -> Any:
    """Carry relevance through a convolution by its rule."""
    h, weight, bias, stride, padding, dilation, transposed, output_padding, groups = call.args[:9]
    if len(call.sources) != 1 or call.step(h) is None:
        return call.refuse("its weights depend on the input")
    source = call.sources[0][1]
    placed = PlacedRule(call.recorder, source, "convolution")
    call.recorder.facts.layers += 1
    output = call.run()
    geometry = list(stride), list(padding), list(dilation), transposed, list(output_padding)
    record_linear(
        call, output, h, source, Convolution(weight, bias, *geometry, groups), placed,
        is_layer=True, is_attention=source.is_attention,
    )  # fmt: skip
    return output
