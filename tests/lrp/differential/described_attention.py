"""Attention over a map's positions, written out, fused, and as PyTorch's module, as a description."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from dense_relevance import Back, Choices, Value, added, attended, weighted
from described_block import CHANNELS, SIDE, Block, State
from torch import Tensor, nn


@dataclass
class Attention(Block):
    """A residual attention over the map's positions as tokens, possibly with a class token that is dropped again."""

    kind: str = "fused"
    mask: str = "none"
    heads: int = 1
    class_token: bool = False

    KINDS: ClassVar[tuple[str, ...]] = ("written out", "fused", "module")
    MASKS: ClassVar[tuple[str, ...]] = ("none", "bool", "float", "causal", "closed", "closed float")

    def build(self) -> nn.Module:
        return _Attention(self)

    @property
    def tokens(self) -> int:
        return SIDE * SIDE + self.class_token

    def open(self) -> Tensor:
        """(tokens, tokens) bool: which query may attend to which key; with "closed" some may attend to none."""
        mask = torch.ones(self.tokens, self.tokens, dtype=torch.bool)
        if self.mask == "causal":
            return mask.tril()
        if self.mask != "none":
            mask = (torch.arange(self.tokens)[:, None] + torch.arange(self.tokens)) % 3 > 0
            mask.fill_diagonal_(True)
        if self.mask.startswith("closed"):
            mask[3::4] = False
        return mask

    def bias(self) -> Tensor:
        """What is added to the scores of open keys."""
        if self.mask != "float":
            return torch.zeros(self.tokens, self.tokens, dtype=torch.float64)
        return torch.linspace(-1, 1, self.tokens**2, dtype=torch.float64).reshape(self.tokens, -1)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        tokens = Value(value.h.flatten(1).T, value.depends.flatten(1).T, value.layers)
        if self.class_token:
            token = state[f"{self.path}.token"].double().reshape(1, CHANNELS)
            tokens = Value(
                torch.cat([token, tokens.h]), torch.cat([torch.zeros(1, CHANNELS) > 0, tokens.depends]), tokens.layers
            )

        def projection(name: str) -> tuple[Tensor, Tensor]:
            if self.kind != "module":
                return tuple(state[f"{self.path}.{name}.{key}"].double() for key in ("weight", "bias"))  # type: ignore[return-value]
            if name == "o":
                return tuple(  # type: ignore[return-value]
                    state[f"{self.path}.attention.out_proj.{key}"].double() for key in ("weight", "bias")
                )
            part = slice("qkv".index(name) * CHANNELS, ("qkv".index(name) + 1) * CHANNELS)
            return tuple(state[f"{self.path}.attention.in_proj_{key}"].double()[part] for key in ("weight", "bias"))  # type: ignore[return-value]

        def dense(name: str, given: Value) -> tuple[Value, Back]:
            weight, bias = projection(name)
            return weighted(
                choices, given, lambda x: F.linear(x, weight, bias), lambda x: F.linear(x, torch.ones_like(weight))
            )

        def by_heads(x: Tensor) -> Tensor:
            return x.reshape(self.tokens, self.heads, -1).transpose(0, 1)

        query, key = (by_heads(F.linear(tokens.h, *projection(name))) for name in "qk")
        values, values_back = dense("v", tokens)
        scores = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5 + self.bias()
        weights = scores.masked_fill(~self.open(), -torch.inf).softmax(-1).nan_to_num(0)
        heads = Value(by_heads(values.h), by_heads(values.depends), values.layers)
        mixed, mixed_back = attended(choices, weights, heads)
        joined = Value(
            *(each.transpose(0, 1).reshape(self.tokens, CHANNELS) for each in (mixed.h, mixed.depends)), mixed.layers
        )
        out, out_back = dense("o", joined)
        result, share = added(choices, tokens, out, identity=True)

        def back(relevance: Tensor) -> Tensor:
            relevance = relevance.flatten(1).T
            if self.class_token:
                relevance = torch.cat([torch.zeros(1, CHANNELS), relevance])
            down = share(relevance)
            of_heads = by_heads(out_back(relevance - down))
            of_values = mixed_back(of_heads).transpose(0, 1).reshape(self.tokens, CHANNELS)
            of_tokens = (values_back(of_values) + down)[int(self.class_token) :]
            return of_tokens.T.reshape(value.h.shape)

        kept = slice(int(self.class_token), None)
        return (
            Value(
                result.h[kept].T.reshape(value.h.shape),
                result.depends[kept].T.reshape(value.h.shape),
                result.layers,
            ),
            back,
        )


class _Attention(nn.Module):
    def __init__(self, description: Attention) -> None:
        super().__init__()
        self.kind, self.heads = description.kind, description.heads
        self.causal = description.mask == "causal" and description.kind == "fused"
        mask: Tensor | None = description.open()
        if description.mask == "none" or self.causal:
            mask = None
        elif description.mask in ("float", "closed float"):
            bias = description.bias().masked_fill(~description.open(), float("-inf"))
            mask = bias.to(torch.get_default_dtype())
        elif description.kind == "module":
            mask = ~mask  # there, True closes
        self.register_buffer("mask", mask)
        if description.class_token:
            self.token = nn.Parameter(torch.randn(1, 1, CHANNELS))
        if self.kind == "module":
            self.attention = nn.MultiheadAttention(CHANNELS, self.heads, batch_first=True)
        else:
            self.q, self.k, self.v, self.o = (nn.Linear(CHANNELS, CHANNELS) for _ in range(4))
        self.class_token = description.class_token

    def forward(self, x: Tensor) -> Tensor:
        t = x.flatten(2).transpose(1, 2)
        if self.class_token:
            t = torch.cat([self.token.expand(len(x), -1, -1), t], 1)
        t = t + self._attend(t)
        if self.class_token:
            t = t[:, 1:]
        return t.transpose(1, 2).reshape(x.shape)

    def _attend(self, t: Tensor) -> Tensor:
        if self.kind == "module":
            return self.attention(t, t, t, attn_mask=self.mask, need_weights=False)[0]
        n, tokens, width = t.shape
        q, k, v = (
            layer(t).reshape(n, tokens, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        if self.kind == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, is_causal=self.causal)
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            if self.mask is not None:
                boolean = self.mask.dtype == torch.bool
                scores = scores.masked_fill(~self.mask, float("-inf")) if boolean else scores + self.mask
            mixed = scores.softmax(-1) @ v
        return self.o(mixed.transpose(1, 2).reshape(n, tokens, width))
