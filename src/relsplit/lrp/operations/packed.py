"""Sequences of different lengths, packed one step of all after another, and unpacked again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import supported
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.recording.call import Call


@OPERATIONS.register("_pack_padded_sequence")
def pack(call: Call) -> Any:
    """The steps that are no padding, those of the first moment before those of the second."""
    given = call.given()
    shape = given["input"].shape
    numbers = torch.arange(shape[:2].numel(), device=given["input"].device).reshape(*shape[:2], 1)
    output = call.run()
    rows = torch.ops.aten._pack_padded_sequence(numbers, given["lengths"], given["batch_first"])[0].flatten()

    def there(values: Tensor) -> Tensor:
        return values.flatten(0, 1)[rows]

    def back(relevance: Tensor) -> Tensor:
        result = relevance.new_zeros(shape).flatten(0, 1)
        return result.index_copy_(0, rows, relevance).reshape(shape)

    _record(call, output[0], there, back)
    return output


@OPERATIONS.register("_pad_packed_sequence")
def unpack(call: Call) -> Any:
    """Every sequence by itself, with constants behind the shorter ones."""
    given = call.given()
    data = given["data"]
    numbers = torch.arange(len(data), device=data.device).reshape(-1, 1)
    output = call.run()
    arguments = given["batch_sizes"], given["batch_first"], -1, given["total_length"]
    rows = torch.ops.aten._pad_packed_sequence(numbers, *arguments)[0][..., 0]

    def there(values: Tensor) -> Tensor:
        present: Tensor = (rows >= 0).reshape(*rows.shape, *[1] * (values.dim() - 1))
        return values[rows.clamp(min=0)] * present

    def back(relevance: Tensor) -> Tensor:
        return relevance.new_zeros(data.shape).index_copy_(0, rows[rows >= 0], relevance[rows >= 0])

    _record(call, output[0], there, back)
    return output


def _record(call: Call, output: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> None:
    tensor, source = call.sources[0]
    support = torch.ones_like(tensor) if source.support is None else source.support
    call.record(
        output,
        [source],
        lambda relevance: [back(relevance)],
        nonnegative=source.nonnegative,
        support=supported(there(support) > 0),
    )
