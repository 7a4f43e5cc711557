"""Attention rollout and Transformer Attribution against their definitions, written out for one small transformer."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import seeded_images, small_resnet
from torch import Tensor

from relsplit.errors import InputError
from relsplit.explainers import AttentionRollout, TransformerAttribution
from relsplit.explainers.shared.attention_weights import WeightRelevance
from relsplit.lrp import LRP
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.epsilon import Epsilon
from small_transformer import SmallViT, small_vit


def forward_by_hand(model: SmallViT, images: Tensor, added: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The scores, and the attention weights of every block after ``added`` has been put onto them."""
    x = model.patches(images).flatten(2).transpose(1, 2)
    x = torch.cat([model.tokens.expand(len(x), -1, -1), x], 1) + model.position
    weights = []
    for block, more in zip(model.blocks, added, strict=True):
        n, tokens, width = x.shape
        query, key, value = block.qkv(block.norm1(x)).reshape(n, tokens, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
        weights.append((query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1) + more)
        x = x + block.proj((weights[-1] @ value).transpose(1, 2).reshape(n, tokens, width))
        x = x + block.mlp(block.norm2(x))
    return model.fc(model.norm(x)[:, 0]), weights


@pytest.mark.parametrize("registers", [0, 2])
def test_rollout(registers: int) -> None:
    model, images = small_vit(registers=registers).double(), seeded_images(2, 32)
    _, weights = forward_by_hand(model, images, [torch.zeros(1)] * 2)
    first, second = ((each.mean(1) + torch.eye(each.shape[-1])) / 2 for each in weights)
    expected = (second @ first)[:, 0, 1 + registers :].reshape(2, 4, 4)
    torch.testing.assert_close(AttentionRollout(model).attribute(images), expected.detach())


def test_transformer_attribution() -> None:
    model, images = small_vit().double(), seeded_images(2, 32)
    target = torch.tensor([1, 3])
    tokens = 17
    added = [torch.zeros(2, 4, tokens, tokens, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    scores, _ = forward_by_hand(model, images, added)
    scores[torch.arange(2), target].sum().backward()
    lrp = LRP(model, attention=Attention(Epsilon(), to_weights=True), start="one")
    with torch.no_grad():
        relevance = lrp.observed(images, target, WeightRelevance).observer.of_blocks()
    mixing = torch.eye(tokens, dtype=torch.float64)
    for more, arrived in zip(added, relevance, strict=True):
        assert more.grad is not None
        mixing = (torch.eye(tokens, dtype=torch.float64) + F.relu(more.grad * arrived).mean(1)) @ mixing
    found = TransformerAttribution(model).attribute(images, target)
    torch.testing.assert_close(found, mixing[:, 0, 1:].reshape(2, 4, 4), rtol=1e-6, atol=1e-9)
    assert not torch.allclose(found, TransformerAttribution(model).attribute(images, 0))


@pytest.mark.parametrize("method", [AttentionRollout, TransformerAttribution])
def test_a_network_without_attention_is_refused(method: type) -> None:
    with pytest.raises(InputError, match=r"plain vision transformer.*: none"):
        method(small_resnet()).attribute(seeded_images(1))
