"""Lengths, variances and smooth maxima that are values themselves; what is divided by them scales only."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.compound import compound
from relsplit.lrp.recording.call import Call


@OPERATIONS.register("linalg_vector_norm", "norm")
def length(call: Call) -> Any:
    """The root of a sum of squares: entries share by these."""
    given = call.given()
    order, dim, keepdim = given.get("ord", given.get("p")), given.get("dim"), given.get("keepdim", False)
    if order not in (None, 2):
        return call.refuse(f"a norm of order {order}")

    def written_out(tensors: Sequence[Any]) -> Tensor:
        squares: Tensor = tensors[0] * tensors[0]
        return _sum(squares, dim, keepdim).sqrt()

    return compound(call, [given["self"]], written_out)


@OPERATIONS.register("dist", "_cdist_forward", "_euclidean_dist")
def distance(call: Call) -> Any:
    """The length of a difference; of all pairs of rows, which PyTorch has two kernels for."""
    (first, second), given = call.args[:2], call.given()
    order = given.get("p", 2.0)  # _euclidean_dist, of many rows, is of no other
    with call.recorder:
        if call.name == "dist":
            return torch.linalg.vector_norm(first - second, order)
        return torch.linalg.vector_norm(first.unsqueeze(-2) - second.unsqueeze(-3), order, -1)


@OPERATIONS.register("var", "std")
def variance(call: Call) -> Any:
    """The mean square of differences from the mean, and its root."""
    given = call.given()
    dim, keepdim = given.get("dim"), given.get("keepdim", False)
    correction = given.get("correction", 1 if given.get("unbiased", True) else 0)
    is_root = call.name == "std"

    def written_out(tensors: Sequence[Any]) -> Tensor:
        x: Tensor = tensors[0]
        mean = _sum(x, dim, True)
        count = x.numel() // mean.numel()
        difference = x - mean / count
        result = _sum(difference * difference, dim, keepdim) / max(count - (1 if correction is None else correction), 1)
        return result.sqrt() if is_root else result

    return compound(call, [given["self"]], written_out)


def _sum(x: Tensor, dim: "int | Sequence[int] | None", keepdim: bool) -> Tensor:
    every = [dim] if isinstance(dim, int) else list(dim or range(x.dim()))
    return x.sum(every, keepdim=keepdim)


@OPERATIONS.register("logsumexp")
def smooth_maximum(call: Call) -> Any:
    """Entries share as the softmax has it, which says how much each of them makes of the result."""
    given = call.given()
    (x, source), dim, keepdim = call.sources[0], given["dim"], given["keepdim"]
    output = call.run()
    saved, support = call.save(x), source.support

    def backward(relevance: Tensor) -> list[Tensor]:
        values = saved.tensor.to(relevance.dtype)
        if support is not None:
            values = values.masked_fill(support == 0, -torch.inf)
        shares = (values - values.logsumexp(dim, keepdim=True)).exp()
        return [shares * (relevance if keepdim else _unsqueezed(relevance, dim, values.dim()))]

    reached = None if support is None else support.amax(dim, keepdim=keepdim)
    call.record(output, [source], backward, support=reached)
    return output


def _unsqueezed(relevance: Tensor, dim: "int | Sequence[int]", dims: int) -> Tensor:
    for place in sorted(each % dims for each in ([dim] if isinstance(dim, int) else dim)):
        relevance = relevance.unsqueeze(place)
    return relevance
