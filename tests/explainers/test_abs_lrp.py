"""absLRP against dense matrices, layer type by layer type, and what its two variants keep."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
import torch.nn.functional as F
from small_networks import seeded_images, small_resnet, small_vgg
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.resnet import BasicBlock

from relsplit.errors import UnsupportedModelError
from relsplit.explainers import AbsLRP

EPS = 1e-9


def unit(r: Tensor) -> Tensor:
    return r / (r.abs().sum() + EPS)


def dense(layer: nn.Module, x: Tensor) -> Tensor:
    """The matrix (outputs, inputs) of a layer that is affine in one image x (C, H, W)."""
    with torch.no_grad():
        at_zero = layer(torch.zeros_like(x)[None])[0]
        basis = torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
        return (layer(basis) - at_zero).flatten(1).T


def through_affine(layer: nn.Module, x: Tensor, r: Tensor) -> Tensor:
    """N1 of sum_j max(w_ji x_i, 0) R_j / (|y_j| + eps), from the layer's matrix."""
    y = layer(x[None])[0].flatten()
    contributions = (dense(layer, x) * x.flatten()).clamp(min=0)
    return unit(contributions.T @ (r.flatten() / (y.abs() + EPS))).view_as(x)


class Plain(nn.Module):
    """Convolution, BatchNorm, ReLU, overlapping max pooling, average pooling, linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.mean = nn.AvgPool2d(2)
        self.fc = nn.Linear(16, 3)
        for tensor in (self.norm.weight, self.norm.bias, self.norm.running_mean):
            nn.init.normal_(tensor)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.norm(self.conv(x))))
        return self.fc(torch.flatten(self.mean(x), 1))


@pytest.fixture
def plain() -> Plain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Plain()


def winners(x: Tensor, r: Tensor, undivided: bool) -> Tensor:
    """Max pooling of one image: the winner takes R, or x R where nothing is divided."""
    y, index = F.max_pool2d(x[None], 3, 2, 1, return_indices=True)
    given = r * y[0] if undivided else r * (y[0] > 0)
    got = torch.zeros_like(x).flatten(1)
    return unit(got.scatter_add_(1, index[0].flatten(1), given.flatten(1)).view_as(x))


def test_a_plain_network_equals_dense_matrices(plain: Plain) -> None:
    (image,) = seeded_images(1, 8)
    with torch.no_grad():
        conv = plain.conv(image[None])[0]
        active = F.relu(plain.norm(conv[None]))[0]
        pooled = plain.pool(active[None])[0]
        flat = plain.mean(pooled[None])[0].flatten()
        logits = plain.fc(flat)
    maps = {}
    target = int(logits.argmax())
    hot = F.one_hot(logits.argmax(), 3).double()
    for name, start in (("for", hot), ("against", (1 - hot) / 2)):
        r = through_affine(plain.fc, flat, start)
        r = (r * (flat > 0)).view(4, 2, 2)
        r = through_affine(plain.mean, pooled, r)
        r = winners(active, r, undivided=True)
        r = through_affine(plain.norm, conv, r)
        maps[name] = through_affine(plain.conv, image, r)
    found = AbsLRP(plain, contrastive=False).attribute(image[None], target)[0]
    torch.testing.assert_close(found, maps["for"], rtol=1e-6, atol=1e-9)
    contrast = AbsLRP(plain).attribute(image[None], target)[0]
    torch.testing.assert_close(contrast, maps["for"] - maps["against"], rtol=1e-6, atol=1e-9)


class Residual(nn.Module):
    """One skip connection around a convolution whose values are far smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        for parameter in self.conv.parameters():
            parameter.data *= 1e-4
        self.fc = nn.Linear(3, 2)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((x + self.conv(x)).mean((2, 3)))


def test_skip_and_branch_count_the_same_as_released_and_by_contribution_by_mass() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Residual().requires_grad_(False)
        network.fc.weight.data.abs_()
    (image,) = seeded_images(1, 6).abs()
    x1, x2 = image, network.conv(image[None])[0].detach()
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    mean = nn.AdaptiveAvgPool2d(1)
    total = x1 + x2
    r = through_affine(network.fc, mean(total[None]).flatten(), start).view(3, 1, 1)
    r = through_affine(mean, total, r)
    skip, branch = (unit(x.clamp(min=0) * r / (total.abs() + EPS)) for x in (x1, x2))
    expected = skip + through_affine(network.conv, x1, branch)
    found = AbsLRP(network, contrastive=False).attribute(image[None], 0)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    # By mass: the branch's ten-thousandth is what it is, and the sum stays 1.
    mass = AbsLRP(network, "mass", contrastive=False).attribute(image[None], 0)[0]
    parts = [x.clamp(min=0) * r / (total.abs() + EPS) for x in (x1, x2)]
    size = sum(part.sum() for part in parts)
    through = through_affine(network.conv, x1, parts[1]) * parts[1].sum() / size
    torch.testing.assert_close(mass, parts[0] / size + through, rtol=1e-4, atol=1e-9)
    assert parts[1].sum() / size < 1e-2 < 0.4 < float(branch.sum())


@pytest.mark.parametrize("network", [small_resnet(), small_resnet(BasicBlock), small_vgg(), small_vgg(nn.GELU)])
def test_masses(network: nn.Module) -> None:
    images = seeded_images(2, 32)
    released = AbsLRP(network, contrastive=False).attribute(images)
    assert released.abs().sum((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert AbsLRP(network).attribute(images).sum((1, 2, 3)).abs().max() < 1e-6
    kept = AbsLRP(network, "mass", contrastive=False).attribute(images).sum((1, 2, 3))
    assert (kept < 1 + 1e-6).all()
    assert (kept > 0.75).all()  # less than all where nothing contributes, or activations are negative


@pytest.mark.parametrize("network", [small_resnet(BasicBlock), small_vgg()])
def test_mass_is_kept_where_something_contributes(network: nn.Module) -> None:
    kept = AbsLRP(network, "mass", contrastive=False).attribute(seeded_images(2, 32))
    assert kept.sum((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_positive_and_negative_mass_are_kept_each() -> None:
    """The contrastive start of the earlier version: 1 + 1/K - 1/K at the class, -1/K at the others."""
    layer = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).double()
    images = seeded_images(1, 4).abs() + 1
    layer[1].weight.data = torch.rand(5, 48, dtype=torch.float64)  # every class has contributions
    found = AbsLRP(layer, "mass").attribute(images, 2)
    assert float(found.sum()) == pytest.approx(1 - 4 / 5)


def small_vit() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(
            image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=4
        )
        nn.init.normal_(network.heads.head.weight)
        return network.double().eval()


def attention_by_hand(module: nn.MultiheadAttention, x: Tensor, r: Tensor) -> Tensor:
    """One image, one head at a time, sums over indices written out."""
    tokens, width = x.shape
    heads, each = module.num_heads, module.head_dim
    q, k, v = (
        F.linear(x, w, b) for w, b in zip(module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3), strict=True)
    )
    split = [t.view(tokens, heads, each).transpose(0, 1) for t in (q, k, v)]
    scores = split[0] @ split[1].transpose(1, 2) / each**0.5
    a = scores.softmax(2)
    mixed = (a @ split[2]).transpose(0, 1).reshape(tokens, width)
    r = through_tokens(module.out_proj, mixed, r)
    s = (r / (mixed.abs() + EPS)).view(tokens, heads, each).transpose(0, 1)
    r_a = unit(2 * torch.einsum("hij,hjd,hid->hij", a, split[2].clamp(min=0), s))
    r_v = unit(2 * torch.einsum("hij,hjd,hid->hjd", a, split[2].clamp(min=0), s))
    r_s = unit(scores * (a + scores.sign() * scores.abs().softmax(2)) * r_a / (a + EPS))
    product = split[0][:, :, None] * split[1][:, None]  # (heads, queries, keys, width)
    t = r_s / ((split[0] @ split[1].transpose(1, 2)).abs() + EPS)
    positive = 2 * product.clamp(min=0) * t[..., None]
    r_q, r_k = unit(positive.sum(2)), unit(positive.sum(1))
    joined = torch.cat([each_r.transpose(0, 1).reshape(tokens, width) for each_r in (r_q, r_k, r_v)], 1)
    stacked = nn.Linear(width, 3 * width).double()
    stacked.weight.data, stacked.bias.data = module.in_proj_weight.data, module.in_proj_bias.data
    return through_tokens(stacked, x, joined)


def through_tokens(layer: nn.Linear, x: Tensor, r: Tensor) -> Tensor:
    y = F.linear(x, layer.weight, layer.bias)
    contributions = (layer.weight[None] * x[:, None]).clamp(min=0)  # (tokens, outputs, inputs)
    return unit(torch.einsum("toi,to->ti", contributions, r / (y.abs() + EPS)))


class Attend(nn.Module):
    """Tokens, attention, mean over tokens."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, heads, batch_first=True)
        nn.init.normal_(self.attention.in_proj_bias)
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).permute(0, 2, 1)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].permute(0, 2, 1).mean(2)


@pytest.mark.parametrize("heads", [2, 3])
def test_attention_equals_written_out_sums(heads: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Attend(heads)
    image = torch.randn(1, 6, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = image[0].flatten(1).T
    with torch.no_grad():
        out = network.attention(tokens[None], tokens[None], tokens[None])[0][0]  # (4, 6)
        mean = out.mean(0)
        r = torch.zeros_like(out)
        r[:, 2] = out[:, 2].clamp(min=0) / (mean[2].abs() + EPS)
        expected = attention_by_hand(network.attention, tokens, unit(r)) * (tokens > 0)  # a flattening keeps these
    found = AbsLRP(network, contrastive=False).attribute(image, 2)
    torch.testing.assert_close(found[0].flatten(1).T, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("variant", ["released", "mass"])
def test_a_vision_transformer(variant: str) -> None:
    images = seeded_images(2, 16)
    maps = AbsLRP(small_vit(), variant, contrastive=False).attribute(images)
    assert maps.shape == images.shape
    assert maps.isfinite().all()
    contrast = AbsLRP(small_vit(), variant).attribute(images)
    assert contrast.sum((1, 2, 3)).abs().max() < 1.0
    alone = AbsLRP(small_vit(), variant).attribute(images[1:])
    torch.testing.assert_close(alone, contrast[1:], rtol=1e-6, atol=1e-9)


def small_timm_vit() -> nn.Module:
    """timm's vision transformer with the weights of :func:`small_vit`."""
    vit = small_vit()
    network = timm.models.vision_transformer.VisionTransformer(
        img_size=vit.image_size, patch_size=vit.patch_size, embed_dim=vit.hidden_dim, depth=len(vit.encoder.layers),
        num_heads=vit.encoder.layers[0].num_heads, mlp_ratio=vit.mlp_dim / vit.hidden_dim, num_classes=vit.num_classes,
    ).double().eval()  # fmt: skip
    names = {
        "class_token": "cls_token", "conv_proj.": "patch_embed.proj.", "encoder.pos_embedding": "pos_embed",
        "encoder.ln.": "norm.", "heads.head.": "head.", "encoder.layers.encoder_layer_": "blocks.", "ln_1": "norm1",
        "ln_2": "norm2", "self_attention.in_proj_": "attn.qkv.", "self_attention.out_proj": "attn.proj",
        "mlp.0": "mlp.fc1", "mlp.3": "mlp.fc2",
    }  # fmt: skip
    state = {}
    for name, value in vit.state_dict().items():
        for theirs, timms in names.items():
            name = name.replace(theirs, timms)
        state[name] = value
    network.load_state_dict(state)
    return network


@pytest.mark.parametrize("variant", ["released", "mass"])
def test_timms_vision_transformer_has_the_maps_of_torchvisions(variant: str) -> None:
    images = seeded_images(2, 16)
    torch.testing.assert_close(small_timm_vit()(images), small_vit()(images), rtol=1e-9, atol=1e-12)
    expected = AbsLRP(small_vit(), variant).attribute(images)
    torch.testing.assert_close(AbsLRP(small_timm_vit(), variant).attribute(images), expected, rtol=1e-6, atol=1e-9)


def test_attention_that_is_not_fused_has_the_maps_of_a_fused_one() -> None:
    images = seeded_images(2, 16)
    expected = AbsLRP(small_timm_vit()).attribute(images)
    network = small_timm_vit()
    for block in network.blocks:
        block.attn.fused_attn = False
    torch.testing.assert_close(AbsLRP(network).attribute(images), expected, rtol=1e-4, atol=1e-9)


def test_an_attention_that_normalises_its_queries_is_explained_by_the_rules_of_its_steps() -> None:
    network = timm.create_model("vit_tiny_patch16_224", qk_norm=True, depth=1, img_size=32).eval()
    maps = AbsLRP(network, contrastive=False).attribute(seeded_images(2, 32).float())
    assert maps.abs().sum((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-4)


class Twice(nn.Module):
    """An activation that is read through dropout, and as it is."""

    def __init__(self, drop: nn.Module) -> None:
        super().__init__()
        self.drop = drop
        self.below, self.dropped, self.straight = (nn.Conv2d(3, 3, 1) for _ in range(3))
        nn.init.constant_(self.dropped.bias, 3)
        nn.init.constant_(self.straight.bias, 3)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.below(x)
        return (self.dropped(self.drop(x)) + self.straight(x)).mean((2, 3))


@pytest.mark.parametrize("drop", [nn.Dropout(), nn.Identity()])
def test_dropout_masks_what_is_read_through_it_alone(drop: nn.Module) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Twice(drop).requires_grad_(False)
    images = seeded_images(1, 4)
    x = network.below(images)
    summands = network.dropped(x), network.straight(x)
    total = sum(summands)
    r = torch.zeros_like(x)
    r[:, 1] = unit(total.clamp(min=0)[:, 1])
    dropped, straight = (unit(y.clamp(min=0) * r / (total.abs() + EPS))[0] for y in summands)
    arrived = through_affine(network.dropped, x[0], dropped) * (x[0] > 0)
    arrived += through_affine(network.straight, x[0], straight)
    found = AbsLRP(network, contrastive=False).attribute(images, 1)
    assert found.abs().sum() == pytest.approx(1)
    torch.testing.assert_close(found[0], through_affine(network.below, images[0], arrived), rtol=1e-6, atol=1e-9)


class InPlace(nn.Module):
    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = F.silu(self.norm(x), inplace=self.in_place)
        if self.in_place:
            y += x
            y += 1
        else:
            y = y + x + 1
        y = F.elu(F.relu(y, self.in_place), inplace=self.in_place)
        return self.fc(F.dropout(y, training=False, inplace=self.in_place).mean((2, 3)))


@pytest.mark.parametrize("variant", ["released", "mass"])
def test_steps_in_place_change_nothing(variant: str) -> None:
    plain, in_place = InPlace(False), InPlace(True)
    in_place.load_state_dict(plain.state_dict())
    images = seeded_images(2, 8)
    expected = AbsLRP(plain, variant).attribute(images, 1)
    torch.testing.assert_close(AbsLRP(in_place, variant).attribute(images, 1), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", [small_resnet(BasicBlock), small_vit()])
def test_threads_share_an_explainer_beside_predictions(network: nn.Module) -> None:
    batches = [seeded_images(2, 16) + shift for shift in range(8)]
    explainer = AbsLRP(network)
    alone = [explainer.attribute(images) for images in batches]
    with torch.no_grad():
        scores = [network(images) for images in batches]
    with ThreadPoolExecutor(8) as pool:
        maps = [pool.submit(explainer.attribute, images) for images in batches * 3]
        predictions = [pool.submit(torch.no_grad()(network), images) for images in batches * 20]
        for found, expected in zip(maps, alone * 3, strict=True):
            torch.testing.assert_close(found.result(), expected, rtol=1e-9, atol=1e-12)
        for prediction, expected in zip(predictions, scores * 20, strict=True):
            torch.testing.assert_close(prediction.result(), expected, rtol=1e-12, atol=1e-12)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.GroupNorm(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).mean((2, 3))


class TokensFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).permute(0, 2, 1)
        return self.attention(tokens, tokens, tokens)[0].mean(1)


class Masked(TokensFirst):
    """Attention by hand, in which a token does not see later ones."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2).unsqueeze(1)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True).mean((1, 2))


class Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.relu(), x.tanh()], 1).mean((2, 3))


class ImagesLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(0, -1).tanh().mean((1, 2)).T


@pytest.mark.parametrize(
    ("network", "channels", "said"),
    [
        (Odd(), 3, r"operation 'native_group_norm' in module 'inner.0', called at .*test_abs_lrp.py:\d+, has no rel"),
        (TokensFirst(), 6, r"operation 'multi_head_attention' in module 'attention', called at .*more than attention"),
        (Masked(), 6, r"operation 'scaled_dot_product_attention', called at .*a mask closes"),
        (Joined(), 3, r"operation 'cat', called at .*several activations"),
        (ImagesLast(), 3, r"2 images in the first dimension"),
    ],
)
def test_what_has_no_rule_is_named(network: nn.Module, channels: int, said: str) -> None:
    images = torch.rand(2, channels, 5, 5)
    with pytest.raises(UnsupportedModelError, match=f"{said}.*: choose another explainer"):
        AbsLRP(network.eval()).attribute(images)
