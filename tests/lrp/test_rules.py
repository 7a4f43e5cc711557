"""Every rule on every kind of linear layer equals the dense float64 oracle."""

import pytest
import torch
from dense_oracle import SHARES, matrix, propagate
from torch import Tensor, nn

from relsplit.lrp import LRP, Flat, ZBox, ZPlus
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import signed_denominator

LAYERS = {
    "convolution": lambda: nn.Conv2d(3, 4, 3, bias=False),
    "stride and padding": lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
    "first layer": lambda: nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False),
    "windows that do not reach the border": lambda: nn.Conv2d(3, 4, 2, stride=2, bias=False),
    "pixels between the windows": lambda: nn.Conv2d(1, 4, 1, stride=3, bias=False),
    "dilation": lambda: nn.Conv2d(3, 4, 3, padding=2, dilation=2, bias=False),
    "groups": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4, bias=False),
    "uneven kernel": lambda: nn.Conv2d(3, 4, (1, 5), padding=(0, 2), bias=False),
    "same padding": lambda: nn.Conv2d(3, 4, 4, padding="same", bias=False),
    "transposed": lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1, bias=False),
    "average pooling": lambda: nn.AvgPool2d(3, 2, 1),
    "global average": lambda: nn.AdaptiveAvgPool2d(1),
    "adaptive 3x2": lambda: nn.AdaptiveAvgPool2d((3, 2)),
}


def seeded(make: object, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: nn.Module = make()  # type: ignore[operator]
    return module.double()


def signed_images(channels: int, seed: int = 1) -> Tensor:
    return torch.randn(2, channels, 7, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Classifier(nn.Module):
    """A layer under test between a pass-through and a dense head, so that LRP can be asked about it."""

    def __init__(self, layer: nn.Module, channels: int, rectified: bool) -> None:
        super().__init__()
        self.first = nn.ReLU() if rectified else nn.Identity()
        self.layer = layer
        features = layer(torch.zeros(1, channels, 7, 6, dtype=torch.float64)).numel()
        self.head = nn.Linear(features, 3, bias=False).double()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(5)
            self.head.weight.normal_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.first(x)).flatten(1))


@pytest.mark.parametrize("rectified", [True, False], ids=["non-negative input", "signed input"])
@pytest.mark.parametrize("rule", sorted(SHARES))
@pytest.mark.parametrize("name", LAYERS)
def test_rule_equals_dense_oracle(name: str, rule: str, rectified: bool) -> None:
    layer = seeded(LAYERS[name])
    channels = getattr(layer, "in_channels", 3)
    model = Classifier(layer, channels, rectified)
    images = signed_images(channels)
    images = images.abs() + 0.05 if rectified else images
    by_name = RULES.get(rule)(epsilon=0.0) if rule == "epsilon" else rule
    lrp = LRP(model, rule=by_name, input_rule=by_name, start="one")
    relevance = lrp.attribute(images, target=1)
    h = model.first(images)
    features = model.layer(h)
    start = torch.zeros(2, 3, dtype=torch.float64)
    start[:, 1] = 1
    middle = propagate(model.head, features.flatten(1), start, rule).reshape(features.shape)
    expected = propagate(model.layer, h, middle, rule)
    assert torch.allclose(relevance, expected, rtol=1e-6, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["convolution", "stride and padding", "groups", "dilation"])
def test_input_rules_equal_their_definitions(name: str) -> None:
    layer = seeded(LAYERS[name])
    channels = layer.in_channels
    model = Classifier(layer, channels, rectified=False)
    images = signed_images(channels)
    features = layer(images)
    start = torch.zeros(2, 3, dtype=torch.float64)
    start[:, 1] = 1
    middle = propagate(model.head, features.flatten(1), start, "z_plus").flatten(1)
    w = matrix(layer, tuple(images.shape[1:]))
    low, high = -3.0, 4.0
    reached = (w != 0).double()
    boxed = w * images.flatten(1)[:, None, :] - w.clamp(min=0) * low - w.clamp(max=0) * high
    expected = {
        "ones": torch.einsum("ji,nj->ni", w.clamp(min=0) / w.clamp(min=0).sum(1, keepdim=True), middle),
        "flat": torch.einsum("ji,nj->ni", reached / reached.sum(1, keepdim=True), middle),
        "z_box": torch.einsum("nji,nj->ni", boxed / boxed.sum(2, keepdim=True), middle),
    }
    for rule, given in (("ones", "ones"), ("flat", Flat()), ("z_box", ZBox(low, high))):
        found = LRP(model, input_rule=given, start="one").attribute(images, target=1)  # type: ignore[arg-type]
        assert torch.allclose(found.flatten(1), expected[rule], rtol=1e-8, atol=1e-12), rule


def test_max_pooling_variants() -> None:
    """Same-window average; winner takes all; the released 2x2 average, on a pool of 3x3 with stride 2 and padding 1."""
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), seeded(lambda: nn.Linear(24, 2, bias=False)))
    images = signed_images(2).abs()
    pooled = model[1](model[0](images))
    start = torch.tensor([[1.0, 0.0]]).repeat(2, 1).double()
    above = propagate(model[3], pooled.flatten(1), start, "z_plus").reshape(pooled.shape)
    average = propagate(nn.AvgPool2d(3, 2, 1), images, above, "z_plus")
    two = propagate(nn.AvgPool2d(2, 2, ceil_mode=True), images, above, "z_plus")
    winner = torch.zeros_like(images).flatten(2)
    indices = nn.functional.max_pool2d(images, 3, 2, 1, return_indices=True)[1]
    winner.scatter_add_(2, indices.flatten(2), above.flatten(2))
    for name, expected in (("average", average), ("average_2x2", two), ("winner", winner.reshape(images.shape))):
        found = LRP(model, max_pool=name, start="one", input_rule="activation").attribute(images, target=0)
        assert torch.allclose(found, expected, rtol=1e-8, atol=1e-12), name


def test_relevance_without_receiver_is_spread_over_the_receptive_field() -> None:
    """A unit that only its bias switches on has z = 0: 'stabilizer=0' spreads its relevance, 1e-5 loses it."""
    convolution = nn.Conv2d(1, 1, 3, padding=1).double()
    with torch.no_grad():
        convolution.weight.fill_(-1.0)
        convolution.bias.fill_(100.0)
    model = nn.Sequential(nn.ReLU(), convolution, nn.ReLU(), nn.Flatten(), seeded(lambda: nn.Linear(16, 2)))
    with torch.no_grad():
        model[4].weight.abs_()
    images = signed_images(1).abs()[:, :, :4, :4]
    features = model[:4](images)
    start = torch.tensor([[1.0, 0.0]]).repeat(2, 1).double()
    above = propagate(lambda x: model[4](x) - model[4].bias, features, start, "z_plus")
    reached = (matrix(convolution, (1, 4, 4)) != 0).double()
    expected = torch.einsum("ji,nj->ni", reached / reached.sum(1, keepdim=True), above)
    strict = LRP(model, input_rule="activation", start="one").attribute(images, target=0)
    assert torch.allclose(strict.flatten(1), expected, rtol=1e-8)
    released = LRP(model, input_rule="activation", start="one", stabilizer=1e-5).attribute(images, target=0)
    assert float(released.sum()) == 0.0


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_other_than_zeros_is_padding_followed_by_the_convolution(mode: str) -> None:
    layer = seeded(lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode, bias=False))
    plain = nn.Conv2d(3, 4, 3, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    images = signed_images(3)
    model = Classifier(layer, 3, rectified=False)
    start = torch.tensor([[0.0, 1.0, 0.0]]).repeat(2, 1).double()
    features = layer(images)
    above = propagate(model.head, features.flatten(1), start, "z_plus").reshape(features.shape)
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode=mode)
    at_padded = propagate(plain, padded, above, "z_plus")
    source = images.clone().requires_grad_()
    again = nn.functional.pad(source, (1, 1, 1, 1), mode=mode)
    (expected,) = torch.autograd.grad(again, source, at_padded)
    found = LRP(model, input_rule="activation", start="one").attribute(images, target=1)
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_mixture_and_rules_by_name() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    images = torch.rand(2, 1, 2, 2, dtype=torch.float64)
    by_name = LRP(model, rule={"1": ZPlus(), "*": "epsilon"}, input_rule=ZPlus()).attribute(images, target=0)
    hidden = model[:3](images)
    p = model(images).softmax(1)[:, :1]
    z = hidden * model[3].weight[0]
    above = z / model[3](hidden)[:, :1] * p
    expected = propagate(lambda x: nn.functional.linear(x, model[1].weight), images.flatten(1), above, "z_plus")
    assert torch.allclose(by_name.flatten(1), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_denominator_is_never_zero(dtype: torch.dtype) -> None:
    z = torch.tensor([0.0, -0.0, 1.0, -1.0], dtype=dtype)
    found = signed_denominator(z, 0.0)
    assert found.dtype == dtype
    assert found.tolist()[2:] == [1.0, -1.0]
    assert (found[:2] > 0).all()
