"""Values that are added at given places, as in graph networks: a linear map, and a sum with what was there."""

from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import supported
from relsplit.lrp.layers.linear_map import LinearMap
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.linear import PlacedRule, record_linear
from relsplit.lrp.operations.pass_through import record_unchanged
from relsplit.lrp.recording.call import Call


@OPERATIONS.register("index_add", "scatter_add")
def accumulation(call: Call) -> Any:
    """Every place shares what it has among all that was added there."""
    given = call.given()
    there, dim = given["self"], given["dim"]
    source = given["source"] if call.name == "index_add" else given["src"]
    of_there, of_source = call.step(there), call.step(source)
    kept, shape, alpha = call.kept([given["index"]]), there.shape, given.get("alpha", 1)

    def sums(index: Tensor, x: Tensor) -> Tensor:
        empty = torch.zeros(shape, dtype=x.dtype, device=x.device)
        return empty.index_add(dim, index, x) if call.name == "index_add" else empty.scatter_add(dim, index, x)

    if of_source is None and of_there is not None:
        output = call.run()
        record_unchanged(call, output, of_there, shape)
        return output
    if of_source is None:
        return call.refuse("the places depend on the input, the values do not")
    if of_there is not None or alpha != 1:
        with call.recorder:
            values = source if alpha == 1 else source * alpha
            result = there + sums(given["index"], values)
            return there.copy_(result) if call.is_in_place else result
    layer = LinearMap(lambda x: sums(kept()[0], x))
    placed = PlacedRule(call, of_source, "mean")
    output = call.run()
    step = record_linear(call, output, source, of_source, lambda: layer, placed)
    seen = torch.ones_like(source) if of_source.support is None else of_source.support.to(source.dtype)
    step.support = supported(layer.reach(seen))
    return output
