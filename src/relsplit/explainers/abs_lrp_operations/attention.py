"""Attention, and what it is made of: products of two activations, the scale, softmax."""

from typing import Any

from torch import Tensor

from relsplit.explainers.abs_lrp_operations import ABS_OPERATIONS
from relsplit.explainers.abs_lrp_operations.contributions import of_product, of_softmax
from relsplit.explainers.abs_lrp_operations.sharing import share
from relsplit.lrp.operations.compound import attention
from relsplit.lrp.operations.gate import quotient
from relsplit.lrp.recording.call import Call


@ABS_OPERATIONS.register("scaled_dot_product_attention")
def open_attention(call: Call) -> Any:
    """``softmax(scale Q K^T) V``, as its steps."""
    given = call.given()
    closed = given["attn_mask"] is not None or given["is_causal"]
    return call.refuse("a mask closes a part of it") if closed else attention(call)


@ABS_OPERATIONS.register("matmul", "bmm")
def product(call: Call) -> Any:
    """Both factors contribute."""
    func = call.func
    return share(call, call.args, lambda first, second: of_product(first, second, func))


@ABS_OPERATIONS.register("mul", "div")
def scaled(call: Call) -> Any:
    """A positive number only scales: relevance passes through."""
    factor = call.given()["other"]
    is_number = not isinstance(factor, Tensor) or (factor.dim() == 0 and call.step(factor) is None)
    return quotient(call) if is_number and factor > 0 else call.refuse("its factor is no positive number")


@ABS_OPERATIONS.register("softmax")
def softmax(call: Call) -> Any:
    """The exponential alone contributes."""
    dim = call.given()["dim"]
    return share(call, [call.args[0]], lambda scores: of_softmax(scores, dim))
