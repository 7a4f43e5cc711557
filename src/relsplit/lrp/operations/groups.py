"""Products of groups of rows, each with weights of its own, in one kernel: the experts of a mixture of experts."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.recording.call import Call


@OPERATIONS.register("_grouped_mm", "transformers::grouped_mm_fallback")
def grouped_product(call: Call) -> Any:
    """Every group is a layer, or a product of two activations, as it would be in a loop over the groups."""
    given, facts = call.given(), call.recorder.facts
    first, second = (given["self"], given["mat2"]) if "mat2" in given else (given["input"], given["weight"])
    if call.step(given["offs"]) is not None or given.get("bias") is not None:
        return call.refuse("its groups depend on the input, or it adds a bias")
    layers_before, out_dtype = facts.layers, given.get("out_dtype")
    with call.recorder:
        result = _one_by_one(first, second, given["offs"])
        if out_dtype is not None:
            result = result.to(out_dtype)
    facts.layers = max(layers_before, min(facts.layers, layers_before + 1))  # all experts are one layer
    return result


def _one_by_one(first: Tensor, second: Tensor, ends: Tensor | None) -> Tensor:
    """Return what ``torch.nn.functional.grouped_mm`` returns, by one product a group.

    Args:
        first: (rows, K) or (groups, rows, K).
        second: (K, columns) or (groups, K, columns).
        ends: (groups,), where each group's part of the dimension that they share ends; None: all have a matrix.
    """
    if ends is None:
        return first @ second
    groups = list(enumerate(pairwise([0, *ends.tolist()])))
    if first.dim() == 3 and second.dim() == 2:
        parts = [first[group] @ second[:, start:end] for group, (start, end) in groups if end > start]
        return _filled(parts, 1, second.shape[1])
    if first.dim() == 2 and second.dim() == 3:
        parts = [first[start:end] @ second[group] for group, (start, end) in groups if end > start]
        return _filled(parts, 0, first.shape[0])
    return torch.stack([first[:, start:end] @ second[start:end] for _, (start, end) in groups])


def _filled(parts: list[Tensor], dim: int, length: int) -> Tensor:
    """Return the parts one after another; behind the last group, where the kernel writes nothing, zeros."""
    joined = torch.cat(parts, dim)
    missing = length - joined.shape[dim]
    if not missing:
        return joined
    shape = list(joined.shape)
    shape[dim] = missing
    return torch.cat([joined, joined.new_zeros(shape)], dim)
