"""Attention: each treatment against its formula in float64, conservation token by token, both ways to write it."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from residual_networks import images
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp import LRP
from small_transformer import small_vit

CONSERVING = ("ratio", "z_plus", "flow")


class Attending(nn.Module):
    """Nothing but an attention: the image's rows are the tokens of two heads."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.query, self.key = torch.nn.Parameter(torch.randn(4, 4)), torch.nn.Parameter(torch.randn(4, 4))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x @ self.query, x @ self.key, x

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.parts(x)
        if self.how == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.how == "einsum":
            weights = torch.einsum("nhld,nhsd->nhls", q, k).mul(0.5).softmax(-1)
            mixed = torch.einsum("nhls,nhsd->nhld", weights, v)
        else:
            mixed = ((q * 0.5) @ k.transpose(-1, -2)).softmax(dim=-1) @ v
        return mixed.flatten(1)


def oracle(model: Attending, x: Tensor, start: Tensor, attention: str) -> Tensor:
    """The values' relevance, entry by entry."""
    q, k, v = model.parts(x)
    weights = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    result = torch.zeros_like(v)
    heads, tokens, width = v.shape[1:]
    for h, i, d in itertools.product(range(heads), range(tokens), range(width)):
        w, values = weights[0, h, i], v[0, h, :, d]
        parts = {
            "ratio": w * values.abs(),
            "z_plus": w * values.clamp(min=0),
            "flow": w,
            "cp_lrp": w * values,
        }[attention]
        if parts.sum() == 0:
            parts = w
        result[0, h, :, d] += parts / parts.sum() * start.reshape(x.shape)[0, h, i, d]
    return result


@pytest.mark.parametrize("how", ["fused", "plain", "einsum"])
@pytest.mark.parametrize("attention", [*CONSERVING, "cp_lrp"])
def test_values_receive_what_the_formula_says(attention: str, how: str) -> None:
    model = Attending(how).double()
    x = images(1, 4).double()[:, :2]
    given: list[Tensor] = []

    def start(scores: Tensor) -> Tensor:
        given.append(torch.rand(scores.shape, generator=torch.Generator().manual_seed(2), dtype=scores.dtype))
        return given[-1]

    relevance = LRP(model, attention=attention, start=start).attribute(x)
    torch.testing.assert_close(relevance, oracle(model, x, given[-1], attention), rtol=1e-6, atol=1e-9)


def attn_lrp_oracle(model: Attending, x: Tensor, start: Tensor) -> Tensor:
    """Achtibat et al. 2024, Eq. 13-15: halves for each product, the softmax's Taylor expansion."""
    q, k, v = model.parts(x)
    scores = q @ k.transpose(-1, -2) / 2
    weights = scores.softmax(-1)
    quotient = start.reshape(x.shape) / (weights @ v)
    to_values = v * (weights.transpose(-1, -2) @ quotient) / 2
    to_weights = weights * (quotient @ v.transpose(-1, -2)) / 2
    to_scores = scores * (to_weights - weights * to_weights.sum(-1, keepdim=True))
    quotient = to_scores / scores / 2
    to_query, to_key = q / 2 * (quotient @ k), k / 2 * (quotient.transpose(-1, -2) @ q)
    # The projections are layers: their own rule carries relevance on.
    back = (to_query / q) @ model.query.T * x + (to_key / k) @ model.key.T * x
    return to_values + back


def test_attn_lrp_reaches_queries_and_keys() -> None:
    model = Attending("fused").double()
    x = images(1, 4).double()[:, :2]
    relevance = LRP(model, attention="attn_lrp", rule="epsilon", input_rule="epsilon", start=torch.abs).attribute(x)
    expected = attn_lrp_oracle(model, x, model(x).abs())
    torch.testing.assert_close(relevance, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("attention", CONSERVING)
@pytest.mark.parametrize("split", ["ratio", "symmetric"])
def test_a_transformer_conserves_at_every_block(split: str, attention: str, fused: bool) -> None:
    model, x = small_vit(fused=fused, registers=1).double(), images(3, 32).double()
    relevance, sums = LRP(model, split, attention=attention).attribute(x, return_sums=True)
    assert list(sums) == ["input", "blocks.0", "blocks.0@2", "blocks.1", "blocks.1@2", "output"]
    for place in sums.values():
        torch.testing.assert_close(place, sums["output"], rtol=1e-9, atol=0)
    assert float(relevance.min()) >= 0


def test_both_ways_to_write_attention_agree() -> None:
    x = images(2, 32).double()
    fused = LRP(small_vit(fused=True).double()).attribute(x)
    torch.testing.assert_close(fused, LRP(small_vit(fused=False).double()).attribute(x), rtol=1e-8, atol=1e-12)


def test_images_of_a_batch_do_not_meet() -> None:
    model, x = small_vit().double(), images(3, 32).double()
    explainer = LRP(model)
    apart = torch.cat([explainer.attribute(image[None]) for image in x])
    torch.testing.assert_close(explainer.attribute(x), apart, rtol=1e-8, atol=1e-12)


def test_torch_modules_for_attention() -> None:
    """As an encoder of nn.TransformerEncoderLayer, whose fused kernel has no rule."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 8, 8)
            self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True, activation="gelu")
            self.head = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Encoder().eval()
    x = images(2, 32)
    relevance, sums = LRP(model).attribute(x, return_sums=True)
    torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"], rtol=1e-5, atol=0)
    assert torch.equal(model(x), model(x))
    assert torch.backends.mha.get_fastpath_enabled()


class Masked(nn.Module):
    """Attention with everything that nn.MultiheadAttention has beside queries, keys and values."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        closed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.head(self.attention(x, x, x, attn_mask=closed, need_weights=True)[0].mean(1))


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_masks_and_constant_keys_conserve(options: dict[str, bool]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Masked(**options).double().eval()
    relevance, sums = LRP(model).attribute(images(2, 32).double(), return_sums=True)
    torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"], rtol=1e-9, atol=0)


def test_an_attention_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="attention: 'sparse' is unknown: use one of 'attn_lrp', 'cp_lrp'"):
        LRP(small_vit(), attention="sparse")
    with pytest.raises(InputError, match="is no relsplit"):
        LRP(small_vit(), attention=3)  # type: ignore[arg-type]


def test_scores_that_are_biased_by_the_queries() -> None:
    """As SAM's image encoder has it: the mask of the attention depends on the image, too."""

    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project, self.bias, self.head = nn.Linear(8, 24), nn.Linear(8, 6), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.project(x[:, 0]).chunk(3, -1)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias(query))
            return self.head((x[:, 0] + mixed).mean(1))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    network, x = Biased().eval(), torch.randn(2, 1, 6, 8)
    probability = network(x).softmax(1)[:, 1].detach()
    for attention in ("ratio", "flow"):
        relevance = LRP(network, attention=attention).attribute(x, 1)
        torch.testing.assert_close(relevance.sum((1, 2, 3)), probability, rtol=1e-5, atol=0)
    assert LRP(network, attention="attn_lrp").attribute(x, 1).isfinite().all()
