"""Self-attention modules as what they compute: one projection to queries, keys and values, their mixing, an output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values of an attention, (N, heads, tokens, width) each, and its scaled scores."""

    query: Tensor
    key: Tensor
    value: Tensor
    scores: Tensor


@dataclass(frozen=True)
class SelfAttention:
    """A self-attention without masks, biases of scores, or further tokens.

    Attributes:
        weight: of the projection to queries, keys and values, (3 E, E).
        bias: of the projection, (3 E,), or None.
        num_heads: heads.
        output: the layer after the heads' mixing.
        dropout: whether a dropout module follows it inside of the module.
    """

    weight: Tensor
    bias: Tensor | None
    num_heads: int
    output: nn.Module
    dropout: bool

    def heads(self, x: Tensor) -> Heads:
        """Project the tokens ``x`` (N, L, E)."""
        projected = F.linear(x, self.weight, self.bias)
        width = len(self.weight) // (3 * self.num_heads)
        query, key, value = projected.view(*x.shape[:2], 3, self.num_heads, width).permute(2, 0, 3, 1, 4)
        return Heads(query, key, value, query @ key.transpose(-2, -1) / width**0.5)


def attention_types(model: nn.Module) -> tuple[type[nn.Module], ...]:
    """Return the classes of the self-attentions in ``model``: PyTorch's own, and timm's if it has any."""
    return (nn.MultiheadAttention, *{type(module) for module in model.modules() if _is_of_timm(module)})


def is_attention(module: nn.Module | None) -> bool:
    """Say whether a module is of one of these classes."""
    return isinstance(module, nn.MultiheadAttention) or _is_of_timm(module)


def self_attention(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> SelfAttention | None:
    """Return what a module computes when it is called so; None where it is more than a plain self-attention."""
    if isinstance(module, nn.MultiheadAttention):
        plain = module.bias_k is None and not module.add_zero_attn and module.in_proj_weight is not None
        masks = [value for name, value in kwargs.items() if name in ("key_padding_mask", "attn_mask")]
        single = module.batch_first and args[0] is args[1] is args[2] and all(mask is None for mask in masks)
        if not (plain and single):
            return None
        return SelfAttention(module.in_proj_weight, module.in_proj_bias, module.num_heads, module.out_proj, False)
    norms = [getattr(module, name, None) for name in ("q_norm", "k_norm", "norm")]
    plain = all(norm is None or isinstance(norm, nn.Identity) for norm in norms) and not getattr(module, "gate", None)
    alone = all(value is None or value is False for value in (*args[1:], *kwargs.values()))
    if not (plain and alone and isinstance(module.qkv, nn.Linear)):
        return None
    dropout = isinstance(module.proj_drop, nn.Dropout)
    return SelfAttention(module.qkv.weight, module.qkv.bias, module.num_heads, module.proj, dropout)


def _is_of_timm(module: object) -> bool:
    kind = type(module)
    return kind.__module__.startswith("timm.") and kind.__name__ == "Attention" and hasattr(module, "qkv")
