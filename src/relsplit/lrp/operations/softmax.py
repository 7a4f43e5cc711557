"""The softmax of attention weights, where these receive relevance."""

from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import minus_product, times
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.by_slope import goes_by_slope, record_by_slope
from relsplit.lrp.recording.call import Call


@OPERATIONS.register("_softmax", "_safe_softmax", "softmax")
def softmax(call: Call) -> Any:
    """An activation; or, where attention weights receive relevance, the linear part of its Taylor expansion.

    The latter is AttnLRP's (Achtibat et al. 2024, Eq. 13).
    """
    (scores, source), dim = call.sources[0], call.given()["dim"]
    facts: dict[str, Any] = {"nonnegative": True, "is_gate": True, "is_attention": True}
    if goes_by_slope(call):
        return record_by_slope(call, source, **facts)
    output = call.run()
    if not call.options.attention.to_weights:
        call.record(output, [source], lambda relevance: [relevance], support=source.support, **facts)
        return output
    saved, weights = call.save(scores), call.save(output)

    def backward(relevance: Tensor) -> list[Tensor]:
        given, shares = saved.tensor.to(relevance.dtype), weights.tensor.to(relevance.dtype)
        if given.device.type != "cpu" or (given.numel() and bool(given.amin() == -torch.inf)):
            given = given.masked_fill(shares == 0, 0)  # where attention is closed
        return [times(minus_product(relevance, shares, relevance.sum(dim, keepdim=True)), given)]

    call.record(output, [source], backward, conserves=False, **facts)
    return output
