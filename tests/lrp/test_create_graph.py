"""Relevance that is differentiated, against finite differences of the map in float64, by every input and weight."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn.utils import parametrizations
from torchvision.models import resnet18

from relsplit import LRP
from relsplit.errors import InputError, UnsupportedModelError
from relsplit.targets import Value


def check(model: nn.Module, x: Any, target: Any = 1, **options: Any) -> None:
    """Every derivative of the map, and the map itself, which is the same with a graph as without."""
    lrp = LRP(model, **options)
    plain = lrp.attribute(x, target)
    assert not plain.requires_grad
    torch.testing.assert_close(lrp.attribute(x, target, create_graph=True).detach(), plain, rtol=1e-10, atol=1e-14)
    given = [tensor for tensor in (x, *model.parameters()) if tensor.requires_grad]

    def of(*given: Tensor) -> Tensor:
        """gradcheck changes the very tensors that the model holds."""
        return lrp.attribute(x, target, create_graph=True) * 10

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert gradcheck(of, given, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True, nondet_tol=1e-14)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True)
        self.bn.running_mean, self.bn.running_var = torch.randn(3), torch.rand(3) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu(self.bn(self.conv1(x))))
        out += x
        return self.relu(out)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double()


def drawn(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()


def residual() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), Block(), Block(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3),
        )
    )  # fmt: skip


OPTIONS: list[dict[str, Any]] = [
    {}, {"split": "symmetric"}, {"split": "gamma"}, {"split": "proportional"}, {"include_identity": False},
    {"rule": "epsilon"}, {"rule": "gamma"}, {"rule": "alpha2_beta1"}, {"rule": "ratio"}, {"rule": "flow"},
    {"rule": "flat"}, {"input_rule": "activation"}, {"max_pool": "winner"}, {"max_pool": "average_2x2"},
    {"stabilizer": 1e-5}, {"start": "logit"}, {"start": "one"},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_residual_network(options: dict[str, Any]) -> None:
    check(residual(), drawn(3, 2, 9, 8), **options)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x)).mean(1))


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.head(mixed.transpose(1, 2).flatten(2)).mean(1)


@pytest.mark.parametrize("attention", ["ratio", "z_plus", "flow", "cp_lrp", "attn_lrp"])
@pytest.mark.parametrize("make", [Encoder, Causal])
def test_a_transformer(make: Callable[[], nn.Module], attention: str) -> None:
    check(seeded(make).eval(), drawn(3, 5, 4), attention=attention)


class Reader(nn.Module):
    """A head that is tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(9, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.layer(self.words(ids)).mean(1), self.words.weight)


def test_tokens() -> None:
    check(seeded(Reader).eval(), torch.tensor([[1, 5, 5, 2], [3, 4, 6, 7]]), Value(3))


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer, self.head = kind(4, 5, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: Any) -> None:
    check(seeded(lambda: Recurrent(kind)), drawn(2, 4, 4))


class Odd(nn.Module):
    """Groups, gates, parts that are written over, choices, borders."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped, self.up = nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.norm, self.squeeze, self.head = nn.GroupNorm(2, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.up(F.silu(self.grouped(x))))
        y = y * self.squeeze(y.mean((2, 3))).sigmoid()[:, :, None, None]
        first, second = F.interpolate(y, scale_factor=2, mode="bilinear").chunk(2, 1)
        y = torch.cat([second, first], 1)
        y[:, :1] = y[:, 1:2] * 0.5
        y = F.pad(torch.maximum(y, y.flip(3)), (1, 1, 0, 0), mode="reflect")
        return self.head((y**2).mean((2, 3)).sqrt())


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head, self.relu = nn.Linear(4, 4), nn.Linear(4, 3), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.layer(self.relu(self.layer(x)))))


@pytest.mark.parametrize("options", [{}, {"rule": "gamma", "input_rule": "activation"}], ids=str)
def test_odd_operations(options: dict[str, Any]) -> None:
    check(seeded(Odd), drawn(3, 4, 6, 6), **options)


def test_a_layer_that_is_used_twice() -> None:
    check(seeded(Shared).train(), drawn(3, 4))


def test_weights_that_are_computed_in_the_call() -> None:
    normalised = lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 3))  # noqa: E731
    check(seeded(normalised), drawn(3, 4))


@pytest.mark.parametrize("rule", ["input_times_gradient", "block"])
def test_leaves(rule: str) -> None:
    leaf = nn.Sequential(nn.Linear(4, 5), nn.Softplus())
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), leaf, nn.Linear(5, 3)))
    check(model, drawn(3, 4), leaves={nn.Softplus: rule})


def test_a_frozen_network_and_a_frozen_input() -> None:
    check(residual().requires_grad_(False), drawn(3, 2, 9, 8))
    check(residual(), drawn(3, 2, 9, 8).detach())


@pytest.mark.parametrize("options", [*OPTIONS, {"attention": "attn_lrp"}], ids=str)
def test_units_that_are_switched_off_have_finite_gradients(options: dict[str, Any]) -> None:
    """What is divided by nothing is masked: the gradient of that must not be NaN."""
    model = residual()
    with torch.no_grad():
        model[0].bias[1] = -50
        model[3].conv1.weight[1].zero_()
        model[3].conv2.bias[0] = -50
        model[4].conv2.weight.zero_()
        model[4].conv2.bias.zero_()
    x = torch.zeros(2, 2, 9, 8).double()
    x[0, :, 2:4] = 0.5
    x.requires_grad_()
    LRP(model, **options).attribute(x, 1, create_graph=True).square().sum().backward()
    for name, tensor in (("x", x), *model.named_parameters()):
        # What a class is given to begin with, if it is 1 whatever the network says, depends on nothing.
        assert tensor.grad is not None or (options, name) == ({"start": "one"}, "7.bias"), name
        assert tensor.grad is None or torch.isfinite(tensor.grad).all(), name


def test_a_closed_mask_has_finite_gradients() -> None:
    model, x = seeded(Causal), drawn(2, 5, 4)
    LRP(model, attention="attn_lrp").attribute(x, 1, create_graph=True).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())  # type: ignore[union-attr]


def test_the_sum_has_the_gradient_of_the_probability() -> None:
    model, x = residual(), drawn(3, 2, 9, 8)
    given = [x, *model.parameters()]
    relevance, sums = LRP(model).attribute(x, 1, return_sums=True, create_graph=True)
    expected = torch.autograd.grad(model.eval()(x).softmax(1)[:, 1].sum(), given)
    for total in (relevance.sum(), sums["output"].sum(), sums["3"].sum()):
        for found, right in zip(torch.autograd.grad(total, given, retain_graph=True), expected, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-12)


def test_inside_and_through_a_channel() -> None:
    model, x = residual(), drawn(3, 2, 9, 8)
    lrp = LRP(model)
    inside = lrp.attribute(x, 1, at="3", create_graph=True)[:, 2].sum()
    through = lrp.attribute(x, 1, through={"3": 2}, create_graph=True)
    assert float(inside.detach()) > 0
    for found, right in zip(
        torch.autograd.grad(through.sum(), list(model.parameters())),
        torch.autograd.grad(inside, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-12)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Linear(4, 5), nn.Linear(3, 5), nn.Linear(5, 3)

    def forward(self, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        return self.head((self.one(a) + self.other(b)).relu() * scale)


def test_several_inputs_and_what_is_handed_on() -> None:
    model, given = seeded(Two), [drawn(3, 4), drawn(3, 3), drawn(3, 5)]

    def of(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        inputs = {"a": a, "b": b}
        found = LRP(model).attribute(inputs, 1, forward_kwargs={"scale": scale}, create_graph=True)
        return torch.cat([found["a"], found["b"]], 1)

    assert gradcheck(of, given, eps=1e-6, atol=1e-7, rtol=1e-4)


def test_threads_with_and_without_a_graph() -> None:
    model, x = residual(), drawn(3, 2, 9, 8)
    lrp = LRP(model)
    plain = lrp.attribute(x, 1)

    def explained(place: int) -> Tensor:
        return lrp.attribute(x, 1, create_graph=place % 2 == 0)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(explained, range(8)))
    for place, relevance in enumerate(found):
        assert relevance.requires_grad == (place % 2 == 0)
        torch.testing.assert_close(relevance.detach(), plain, rtol=1e-10, atol=1e-14)
    given = list(model.parameters())
    gradients = [torch.autograd.grad(relevance.square().sum(), given) for relevance in found[::2]]
    for each in zip(*gradients, strict=True):
        for other in each[1:]:
            torch.testing.assert_close(other, each[0], rtol=1e-9, atol=1e-14)


def test_training_on_relevance() -> None:
    """Relevance is moved out of the right half; the model keeps its mode and its statistics."""
    model, x = residual().train(), drawn(4, 2, 8, 8).detach()
    before = model[3].bn.running_mean.clone()
    optimizer, lrp = torch.optim.Adam(model.parameters(), 1e-2), LRP(model)

    def share() -> Tensor:
        relevance = lrp.attribute(x, 1, create_graph=True)
        return relevance[..., 4:].sum() / relevance.sum()

    begin = float(share().detach())
    for _ in range(20):
        optimizer.zero_grad()
        share().backward()
        optimizer.step()
    assert float(share().detach()) < begin - 0.1
    assert model.training
    assert torch.equal(model[3].bn.running_mean, before)


@pytest.mark.parametrize("autocast", [True, False])
def test_a_resnet_in_half_precision(autocast: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = resnet18(num_classes=4).eval(), torch.rand(3, 3, 32, 32)
    if not autocast:
        model, x = model.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        relevance = LRP(model).attribute(x, 1, create_graph=True)
        plain = LRP(model).attribute(x, 1)
    assert relevance.dtype == torch.float32
    torch.testing.assert_close(relevance.detach(), plain, rtol=0.05, atol=1e-3 * float(plain.max()))
    relevance.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


class Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ x


class Without(nn.Module):
    """A layer that runs without gradients."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.weight, self.head, self.own = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 3), own

    def forward(self, x: Tensor) -> Tensor:
        if self.own:
            return self.head(Function.apply(x, self.weight).relu())
        with torch.no_grad():
            x = F.linear(x, self.weight).relu()
        return self.head(x)


@pytest.mark.parametrize("own", [True, False])
def test_what_runs_without_gradients_is_said(own: bool) -> None:
    model = seeded(lambda: Without(own))
    with pytest.raises(UnsupportedModelError, match=r"operation 'linear' runs without gradients .*create_graph"):
        LRP(model).attribute(drawn(2, 4), 1, create_graph=True)
    LRP(model).attribute(drawn(2, 4), 1)
    x = drawn(2, 4)
    x.square().sum().backward()  # autograd has been let in again, and as it was
    torch.testing.assert_close(x.grad, 2 * x.detach())


def test_a_frozen_part_may_run_without_gradients() -> None:
    model = seeded(lambda: Without(False))
    model.weight.requires_grad_(False)
    x, head = drawn(3, 4).detach(), list(model.head.parameters())
    found = LRP(model).attribute(x, 1, create_graph=True)
    assert all(each.abs().sum() > 0 for each in torch.autograd.grad(found.square().sum(), head))


def no_gradients(relevance: Callable[[], Tensor]) -> Tensor:
    with torch.no_grad():
        return relevance()


def inference(relevance: Callable[[], Tensor]) -> Tensor:
    with torch.inference_mode():
        return relevance()


@pytest.mark.parametrize("within", [no_gradients, inference])
def test_gradients_that_are_switched_off(within: Callable[[Callable[[], Tensor]], Tensor]) -> None:
    with pytest.raises(InputError, match="create_graph: gradients are switched off"):
        within(lambda: LRP(residual()).attribute(drawn(2, 2, 9, 8), 1, create_graph=True))


def test_nothing_to_differentiate_by() -> None:
    frozen, x = residual().requires_grad_(False), drawn(2, 2, 9, 8)
    with pytest.raises(InputError, match="neither the inputs nor a parameter of the model requires gradients"):
        LRP(frozen).attribute(x.detach(), 1, create_graph=True)
    layer = nn.Linear(4, 3).double().requires_grad_(False)
    with pytest.raises(InputError, match="the map depends on nothing that requires gradients"):
        LRP(layer, input_rule="flat", start="one").attribute(drawn(2, 4), 1, create_graph=True)
    with pytest.raises(InputError, match='start="evidence" has no gradient'):
        LRP(residual(), start="evidence").attribute(x, 1, create_graph=True)


def test_a_part_in_torchscript() -> None:
    script = torch.jit.script(nn.Linear(4, 4).double())
    model = nn.Sequential(script, nn.ReLU(), nn.Linear(4, 3).double())
    with pytest.raises(UnsupportedModelError, match=r"a part in TorchScript \(Linear\) gets no gradients"):
        LRP(model).attribute(drawn(2, 4), 1, create_graph=True)
