"""Operations that carry out many steps at once: relevance goes through them as through these steps, written out.

The network's own kernel runs in the forward pass; the steps are carried out when relevance comes by.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.recorder import Attended, Facts
from relsplit.lrp.recording.step import Step
from relsplit.lrp.walk import walk_back

_KERNELS = (
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math",
    "_scaled_dot_product_attention_math_for_mps",
)  # fmt: skip


@OPERATIONS.register(*_KERNELS)
def attention(call: Call) -> Any:
    """``softmax(scale Q K^T + mask) V``, by whichever kernel."""
    given = call.given()
    mask = given.get("attn_mask", given.get("attn_bias"))
    query, key, value = given["query"], given["key"], given["value"]
    is_causal, scale = given["is_causal"], given.get("scale")

    def written_out(tensors: Sequence[Any]) -> Tensor:
        return attended(*tensors, is_causal=is_causal, scale=scale)

    output = compound(call, [query, key, value, mask], written_out)
    if call.recorder.attentions is not None:
        parts = query.detach(), key.detach(), mask

        def weights() -> Tensor:
            return attention_weights(*parts, is_causal=is_causal, scale=scale)

        result = output if isinstance(output, Tensor) else output[0]
        call.recorder.attentions.append(Attended(weights, value.detach(), result))
    return output


@OPERATIONS.register("_native_multi_head_attention")
def multi_head_attention(call: Call) -> Any:
    """``nn.MultiheadAttention`` in one kernel."""
    given = call.given()
    names = ("query", "key", "value", "qkv_weight", "qkv_bias", "proj_weight", "proj_bias", "mask")
    heads, mask_type = given["num_head"], given["mask_type"]

    def written_out(tensors: Sequence[Any]) -> Tensor:
        return _multi_head(*tensors, heads=heads, mask_type=mask_type)

    return compound(
        call,
        [given[name] for name in names],
        written_out,
        layers=2 if given["query"] is given["key"] is given["value"] else 4,
    )


@OPERATIONS.register("_transformer_encoder_layer_fwd")
def encoder_layer(call: Call) -> Any:
    """``nn.TransformerEncoderLayer`` in one kernel."""
    given = call.given()
    names = (
        "src", "qkv_weight", "qkv_bias", "proj_weight", "proj_bias", "norm_weight_1", "norm_bias_1", "norm_weight_2",
        "norm_bias_2", "ffn_weight_1", "ffn_bias_1", "ffn_weight_2", "ffn_bias_2", "mask",
    )  # fmt: skip
    settings = {name: given[name] for name in ("num_heads", "use_gelu", "norm_first", "eps", "mask_type")}

    def written_out(tensors: Sequence[Any]) -> Tensor:
        return _encoder_layer(*tensors, **settings)

    return compound(call, [given[name] for name in names], written_out, layers=4, residuals=2)


def compound(
    call: Call,
    arguments: list[Any],
    written_out: Callable[[Sequence[Any]], Tensor],
    layers: int = 0,
    residuals: int = 0,
) -> Any:
    """Run an operation; its way back carries out ``written_out`` of its arguments and goes back through that.

    ``layers`` and ``residuals`` are those that it has: they count for what comes after it, and around it.
    """
    found: dict[int, Step] = {}
    for tensor, step in call.sources:
        if any(tensor is argument for argument in arguments):
            found.setdefault(id(tensor), step)
    # A tensor that is handed in several times, as queries, keys and values, is one input.
    places: dict[int, list[int]] = {key: [] for key in found}
    for place, argument in enumerate(arguments):
        if id(argument) in found:
            places[id(argument)].append(place)
    steps = list(found.values())
    kept = call.kept(arguments)
    recorder, path = call.recorder, call.recorder.path()
    output = call.run()
    value = output if isinstance(output, Tensor) else output[0]
    facts = recorder.facts
    begun = facts.layers, list(facts.residuals), facts.residuals_inside
    before = [recorder.ancestry.layers_before[step.index] for step in steps]

    def record_inside() -> tuple[list[Step], Step | None]:
        inside = recorder.inside(path, Facts(begun[0], list(begun[1]), begun[2], facts))
        tensors = kept()
        inputs: list[Step] = []
        for alike, step, layers_before in zip(places.values(), steps, before, strict=True):
            tensor = torch.ops.aten.alias(tensors[alike[0]])
            for place in alike:
                tensors[place] = tensor
            inputs.append(inside.follow(tensor, step, layers_before))
        with inside:
            result = written_out(tensors)
        made = inside.holders.of(result)
        inside.holders.forget()
        return inputs, made

    masks = any(isinstance(each, Tensor) and id(each) not in found for each in arguments[3:])
    # Where a part may be constant it is carried out at once, and again on the way back: what that part is has to be
    # known, and to keep all of it takes more than the rest of a block. An accelerator would be waited for twice.
    known = record_inside() if call.has_support or masks else None
    support = None if known is None or known[1] is None else known[1].support
    if value.device.type == "cpu":
        known = None

    def backward(relevance: Tensor) -> list[Tensor]:
        inputs, result = record_inside() if known is None else known
        assert result is not None, "it was made of these inputs"
        return walk_back(result, relevance, inputs, recorder.watch, owned=True)

    call.record(value, steps, backward, is_layer=layers > 0, support=support)
    facts.layers += layers
    facts.residuals_inside += residuals
    return output


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, is_causal: bool, scale: float | None
) -> Tensor:
    """Return attention (..., L, E) by plain steps, as ``scaled_dot_product_attention`` has it.

    A query that may attend to nothing gets 0, as there.

    Args:
        query: (..., L, D).
        key: (..., S, D).
        value: (..., S, E).
        mask: bool (True: open) or float (added), None for none.
        is_causal: whether a query sees no later key.
        scale: of the scores; None for ``D ** -0.5``.
    """
    weights = attention_weights(query, key, mask, is_causal=is_causal, scale=scale)
    groups = weights.shape[-3] // value.shape[-3] if value.dim() > 2 else 1
    if groups > 1:  # heads that share keys and values
        value = value.repeat_interleave(groups, -3)
    return weights @ value


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None, *, is_causal: bool, scale: float | None
) -> Tensor:
    """Return the weights (..., L, S) of :func:`attended`; each row sums to 1, or to 0 where nothing is open."""
    groups = query.shape[-3] // key.shape[-3] if key.dim() > 2 else 1
    if groups > 1:
        key = key.repeat_interleave(groups, -3)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(~scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    if mask is None:
        return scores.softmax(-1)
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    closed = scores.detach().amax(-1, keepdim=True) == -torch.inf
    return scores.masked_fill(closed, 0).softmax(-1).masked_fill(closed, 0)


def _multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor | None,
    mask: Tensor | None,
    *,
    heads: int,
    mask_type: int | None,
) -> Tensor:
    if query is key is value:
        parts: Sequence[Tensor] = F.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        weights = qkv_weight.chunk(3)
        biases = (None, None, None) if qkv_bias is None else qkv_bias.chunk(3)
        parts = [F.linear(*each) for each in zip((query, key, value), weights, biases, strict=True)]
    split = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts]
    mixed = attended(*split, _open(mask, mask_type), is_causal=False, scale=None)  # type: ignore[misc, arg-type]
    return F.linear(mixed.transpose(1, 2).flatten(2), proj_weight, proj_bias)


def _open(mask: Tensor | None, mask_type: int | None) -> Tensor | None:
    """The kernel's mask says where attention is closed: (L, S) for type 0, (N, S) for 1, (N, heads, L, S) for 2."""
    if mask is None:
        return None
    return ~mask.bool()[:, None, None] if mask_type == 1 else ~mask.bool()


def _encoder_layer(
    source: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None,
    *,
    num_heads: int,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    mask_type: int | None,
) -> Tensor:
    def first(x: Tensor) -> Tensor:
        return F.layer_norm(x, norm_weight_1.shape, norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return F.layer_norm(x, norm_weight_2.shape, norm_weight_2, norm_bias_2, eps)

    def mixed(x: Tensor) -> Tensor:
        return _multi_head(
            x, x, x, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, heads=num_heads, mask_type=mask_type
        )

    def fed_forward(x: Tensor) -> Tensor:
        x = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(x) if use_gelu else F.relu(x), ffn_weight_2, ffn_bias_2)

    if norm_first:
        x = source + mixed(first(source))
        return x + fed_forward(second(x))
    x = first(source + mixed(source))
    return second(x + fed_forward(x))
