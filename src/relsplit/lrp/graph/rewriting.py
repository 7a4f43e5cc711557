"""Compound functions written out as plain steps, so that the analysis meets few kinds of nodes.

What a network computes stays the same.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from relsplit.lrp.graph.kinds import declare, torch_name
from relsplit.lrp.graph.tracing import UnsupportedModelError, describe, remove_unused


def write_out(graph: fx.Graph) -> None:
    """Replace compound functions in ``graph`` by plain ones, in place.

    Raises:
        UnsupportedModelError: an attention whose form is not known.
    """
    for node in list(graph.nodes):
        if node.op not in ("call_function", "call_method"):
            continue
        write = _WRITTEN_OUT.get(torch_name(node.target))
        if write is not None:
            with graph.inserting_before(node):
                replacement = write(node)
            if replacement is not None:
                node.replace_all_uses_with(replacement)
                graph.erase_node(node)
    remove_unused(graph)


def masked_scores(scores: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
    """Return attention scores (..., L, S) with what the mask closes at -inf, as scaled_dot_product_attention has it.

    Args:
        scores: of queries and keys.
        mask: bool (True: open) or float (added), None for none.
        is_causal: whether a query sees no later key.
    """
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask


declare("pass", functions=(masked_scores,))

_ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def _attention(node: fx.Node) -> fx.Node | None:
    """``softmax(scale Q K^T + mask) V``."""
    given: dict[str, Any] = dict(zip(_ATTENTION, node.args, strict=False)) | dict(node.kwargs)
    if given.get("enable_gqa"):
        raise UnsupportedModelError(f"{describe(node)} shares keys among heads (enable_gqa): no rule is known for it")
    query, key, value = given["query"], given["key"], given["value"]
    call = node.graph.call_function
    scale = given.get("scale")
    if scale is None:
        scale = call(operator.pow, (node.graph.call_method("size", (query, -1)), -0.5))
    scores = call(operator.mul, (call(torch.matmul, (query, call(torch.transpose, (key, -2, -1)))), scale))
    if given.get("attn_mask") is not None or given.get("is_causal"):
        scores = call(masked_scores, (scores, given.get("attn_mask"), bool(given.get("is_causal"))))
    result = call(torch.matmul, (call(torch.softmax, (scores, -1)), value))
    return _at_the_place_of(node, result)


def _sum_of(multiply: Callable[..., Any], factor: str) -> Callable[[fx.Node], fx.Node]:
    """``beta * input + factor * multiply(first, second)``, as ``addcmul`` and ``addmm`` have it."""

    def write(node: fx.Node) -> fx.Node:
        summand, first, second = node.args[:3]
        call = node.graph.call_function
        product = call(multiply, (first, second))
        if node.kwargs.get(factor, 1) != 1:
            product = call(operator.mul, (product, node.kwargs[factor]))
        if node.kwargs.get("beta", 1) != 1:
            summand = call(operator.mul, (summand, node.kwargs["beta"]))
        return _at_the_place_of(node, call(operator.add, (summand, product)))

    return write


def _like_shape(change: Callable[..., Any]) -> Callable[[fx.Node], fx.Node]:
    """A change of shape to that of another tensor, of which only the shape counts."""

    def write(node: fx.Node) -> fx.Node:
        size = node.graph.call_method("size", (node.args[1],))
        return _at_the_place_of(node, node.graph.call_function(change, (node.args[0], size)))

    return write


def _first_result(write: Callable[[fx.Node], fx.Node]) -> Callable[[fx.Node], fx.Node | None]:
    """A function with several results of which only the first is in use, by one that has no others."""

    def rewrite(node: fx.Node) -> fx.Node | None:
        if not node.users or any(user.target is not operator.getitem or user.args[1] != 0 for user in node.users):
            return None
        result = _at_the_place_of(node, write(node))
        for user in list(node.users):
            user.replace_all_uses_with(result)
            node.graph.erase_node(user)
        return result

    return rewrite


def _normalised(node: fx.Node) -> fx.Node:
    """BatchNorm in evaluation mode, as torch.export has it."""
    inputs, weight, bias, mean, variance, momentum, epsilon = node.args
    return node.graph.call_function(F.batch_norm, (inputs, mean, variance, weight, bias, False, momentum, epsilon))


def _called(function: Callable[..., Any]) -> Callable[[fx.Node], fx.Node]:
    """The same arguments for another function."""
    return lambda node: node.graph.call_function(function, node.args, dict(node.kwargs))


def _at_the_place_of(node: fx.Node, result: fx.Node) -> fx.Node:
    """Give the new nodes that ``result`` ends the module of ``node``."""
    if "nn_module_stack" in node.meta:
        new = result
        while "nn_module_stack" not in new.meta and new.op != "placeholder":
            new.meta["nn_module_stack"] = node.meta["nn_module_stack"]
            new = new.prev
    return result


_WRITTEN_OUT: dict[str, Callable[[fx.Node], fx.Node | None]] = {
    "scaled_dot_product_attention": _attention,
    "addcmul": _sum_of(operator.mul, "value"),
    "addmm": _sum_of(torch.matmul, "alpha"),
    "baddbmm": _sum_of(torch.matmul, "alpha"),
    "expand_as": _like_shape(torch.broadcast_to),
    "view_as": _like_shape(torch.reshape),
    "reshape_as": _like_shape(torch.reshape),
    "_native_batch_norm_legit_no_training": _first_result(_normalised),
    "adaptive_max_pool2d": _first_result(_called(F.adaptive_max_pool2d)),
    "max_pool2d_with_indices": _first_result(_called(F.max_pool2d)),
    "max": _first_result(_called(torch.amax)),
}
