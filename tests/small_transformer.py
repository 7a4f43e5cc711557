"""A small vision transformer, seeded."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """A transformer's block as nearly everyone writes it; ``fused`` calls scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.heads, self.fused = heads, fused

    def attention(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        query, key, value = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
            mixed = scores.softmax(-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SmallViT(nn.Module):
    """A vision transformer with a class token and ``registers`` further tokens, 8x8 pixels a patch."""

    def __init__(self, fused: bool = True, registers: int = 0, size: int = 32, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.tokens = nn.Parameter(torch.randn(1, 1 + registers, width))
        self.position = nn.Parameter(torch.randn(1, 1 + registers + (size // 8) ** 2, width))
        self.blocks = nn.Sequential(*[Block(width, 4, fused) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1) + self.position
        return self.fc(self.norm(self.blocks(x))[:, 0])


def small_vit(**options: object) -> nn.Module:
    """A seeded :class:`SmallViT` in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return SmallViT(**options).eval()  # type: ignore[arg-type]
