"""Relevance of weights: of explicit contributions, the sum over all that one entry of a weight makes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dense_oracle import SHARES, matrix
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.lrp import Epsilon, Gamma, ZPlus
from relsplit.targets import Value


def entries(layer: Callable[[Tensor, Tensor], Tensor], weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Which entry of ``weight`` (counted from 1, 0: none) an output has to do with an input by, (outputs, inputs)."""
    numbers = torch.arange(1.0, weight.numel() + 1, dtype=torch.float64).reshape(weight.shape)
    return matrix(lambda x: layer(x, numbers), shape).round().long()


def oracle(
    layer: Callable[[Tensor, Tensor], Tensor], weight: Tensor, h: Tensor, relevance: Tensor, kind: str
) -> Tensor:
    """Relevance of a weight from that of the layer's output, connection by connection."""
    found = torch.zeros(weight.numel() + 1, dtype=torch.float64)
    shape = tuple(h.shape[1:])
    which, w = entries(layer, weight, shape), matrix(lambda x: layer(x, weight), shape)
    even = (which > 0).double()
    even = even / even.sum(1, keepdim=True)
    for image, r in zip(h, relevance, strict=True):
        shares = SHARES[kind](w * image.flatten(), w, even)
        found.index_add_(0, which.flatten(), (shares * r.flatten()[:, None]).flatten())
    assert found[0].abs() < 1e-12, "what has nothing to do with an output receives nothing"
    return found[1:].reshape(weight.shape)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 5), (6,)),
    "linear on tokens": (lambda: nn.Linear(6, 5), (3, 6)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 5, 5)),
    "stride of few channels": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 7, 6)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1, bias=False), (4, 5, 4)),
    "depthwise, dilated": (lambda: nn.Conv2d(4, 4, 2, groups=4, dilation=2), (4, 6, 5)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2), (2, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 2, 2), (2, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2), (4, 3, 3)),
}


def of(module: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """The layer as a function of its input and weight, without bias."""
    if isinstance(module, nn.Linear):
        return F.linear
    if isinstance(module, nn.ConvTranspose2d):
        return lambda x, w: F.conv_transpose2d(x, w, None, module.stride, module.padding)
    convolution = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[module.weight.dim() - 2]
    return lambda x, w: convolution(x, w, None, module.stride, module.padding, module.dilation, module.groups)


@pytest.mark.parametrize("kind", ["z_plus", "gamma", "alpha2_beta1", "ratio", "flow", "flat", "ones"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("signs", ["both", "positive"])
def test_every_connection_by_itself(name: str, kind: str, signs: str) -> None:
    make, shape = LAYERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = make().double()
        h = torch.randn(3, *shape).double() if signs == "both" else torch.rand(3, *shape).double()
        relevance = torch.randn(layer(h).shape).double()
    if signs == "positive":  # after a ReLU, which says so
        model: nn.Module = nn.Sequential(nn.ReLU(), layer)
        prefix = "1."
    else:
        model, prefix = layer, ""
    found = LRP(model, input_rule=kind).attribute_parameters(h, lambda _: relevance)
    expected = oracle(of(layer), layer.weight.detach(), h, relevance, kind)
    torch.testing.assert_close(found[f"{prefix}weight"], expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found[f"{prefix}weight"].sum(), relevance.sum(), rtol=1e-9, atol=1e-12)
    assert layer.bias is None or not found[f"{prefix}bias"].any()


@pytest.mark.parametrize("rule", [Epsilon(), ZPlus(bias=True), Gamma(bias=True)], ids=["epsilon", "z_plus", "gamma"])
def test_a_bias_is_a_weight_of_ones(rule: Any) -> None:
    """What a bias takes is what a weight on one more input, of 1, would: all sums to what the layer received."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, h, relevance = nn.Linear(6, 5).double(), torch.rand(4, 6).double(), torch.randn(4, 5).double()
    wider = nn.Linear(7, 5, bias=False).double()
    wider.weight.data = torch.cat([layer.weight.data, layer.bias.data[:, None]], 1)
    found = LRP(layer, input_rule=rule).attribute_parameters(h, lambda _: relevance)
    expected = LRP(wider, input_rule=rule).attribute_parameters(F.pad(h, (0, 1), value=1), lambda _: relevance)
    torch.testing.assert_close(found["weight"], expected["weight"][:, :-1], rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found["bias"], expected["weight"][:, -1], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found["weight"].sum() + found["bias"].sum(), relevance.sum())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu(self.bn1(self.conv1(x))))
        out += x
        return self.relu(out)


def residual() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, 3),
        )  # fmt: skip
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn(4)
                module.running_var = torch.rand(4) + 0.5
        return model.double()


@pytest.mark.parametrize("options", [{}, {"rule": "epsilon"}, {"rule": "gamma", "split": "symmetric"}])
def test_a_layer_has_what_passes_it(options: dict[str, Any]) -> None:
    model = residual().train()
    lrp, x = LRP(model, **options), torch.rand(3, 3, 13, 11).double()
    found = lrp.attribute_parameters(x, 1)
    layers = ["0", "2.conv1", "2.conv2", "3.conv1", "3.conv2", "6"]
    assert list(found) == [
        name for name, _ in model.named_parameters() if name.rpartition(".")[0] in layers
    ]  # not BatchNorm's
    for layer, relevance in lrp.attribute(x, 1, at=layers).items():
        total = sum(values.sum() for name, values in found.items() if name.rpartition(".")[0] == layer)
        torch.testing.assert_close(total, relevance.sum(), rtol=1e-6, atol=1e-9)  # less epsilon's own share
    one_by_one = [lrp.attribute_parameters(image[None], 1) for image in x]
    for name, values in found.items():
        assert values.shape == model.get_parameter(name).shape
        assert not values.requires_grad
        torch.testing.assert_close(values, torch.stack([each[name] for each in one_by_one]).sum(0))
    assert model.training
    some = lrp.attribute_parameters(x, 1, ["6.weight", "2.conv1.weight"])
    assert list(some) == ["6.weight", "2.conv1.weight"]
    for name, values in some.items():
        torch.testing.assert_close(values, found[name], rtol=1e-9, atol=1e-14)


def test_the_weights_of_a_filter_have_its_relevance() -> None:
    """What networks are pruned by."""
    model, x = residual(), torch.rand(3, 3, 13, 11).double()
    found = LRP(model).attribute_parameters(x, 1)["2.conv1.weight"].flatten(1).sum(1)
    torch.testing.assert_close(found, LRP(model).attribute(x, 1, at="2.conv1").sum((0, 2, 3)))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x).relu_()
        return self.head(self.layer(x).relu_())


def test_a_layer_that_is_used_twice_has_both() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Shared().double(), torch.rand(3, 4).double()
    twice = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    for place, source in ((0, model.layer), (2, model.layer), (4, model.head)):
        twice[place].load_state_dict(source.state_dict())
    expected = LRP(twice).attribute_parameters(x, 1)
    found = LRP(model).attribute_parameters(x, 1)
    torch.testing.assert_close(found["layer.weight"], expected["0.weight"] + expected["2.weight"])
    torch.testing.assert_close(found["head.weight"], expected["4.weight"])


class Reader(nn.Module):
    """Tokens, attention in one kernel or not, and a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8, padding_idx=0)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.encoder(self.words(ids)).mean(1), self.words.weight)


@pytest.mark.parametrize("grad", [True, False])
def test_tokens_and_parts_of_parameters(grad: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, ids = Reader().double().eval(), torch.tensor([[1, 5, 5, 2], [3, 4, 0, 0]])
    lrp = LRP(model)
    with torch.set_grad_enabled(grad):
        whole = lrp.attribute(ids, Value(3))
        found = lrp.attribute_parameters(ids, Value(3))
    start = whole.sum()
    # A tied table has what passes the head, and what arrives at the tokens.
    torch.testing.assert_close(found["words.weight"].sum(), 2 * start)
    rows = torch.zeros(11).double().index_add_(0, ids.flatten(), whole.flatten())
    rows[3] += start
    torch.testing.assert_close(found["words.weight"].sum(1), rows)
    # Of the projections of queries, keys and values, which are one parameter, the values' alone pass relevance.
    inside = found["encoder.self_attn.in_proj_weight"]
    assert inside.shape == (24, 8)
    assert not inside[:16].any()
    torch.testing.assert_close(inside.sum(), found["encoder.self_attn.out_proj.weight"].sum())
    both = found["encoder.linear1.weight"].sum(), found["encoder.linear2.weight"].sum()
    torch.testing.assert_close(*both)
    assert 0 < both[0] / start < 1


def test_weights_that_are_computed_in_the_call() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)]
        layers[1].weight.data.abs_()  # every unit has a contribution: its relevance is not spread evenly
        parametrizations.weight_norm(layers[0])
        prune.l1_unstructured(layers[1], "weight", 3)
        x = torch.rand(3, 4).double()
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()
    lrp, relevance = LRP(model), torch.rand(3, 3).double()
    found = lrp.attribute_parameters(x, lambda _: relevance)
    assert list(found) == ["0.bias", "2.bias", "4.weight", "4.bias", "2.weight", "0.weight"]
    for name in ("0.weight", "2.weight", "4.weight"):
        torch.testing.assert_close(found[name].sum(), relevance.sum())
    assert not found["2.weight"][layers[1].weight == 0].any()
    assert list(lrp.attribute_parameters(x, 1, "0.weight")) == ["0.weight"]


class Convolved(nn.Module):
    """Weights that are transposed, as in GPT-2, seen twice, and products with a parameter in front."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(4))
        self.mixing, self.row = nn.Parameter(torch.randn(2, 5, 3)), nn.Parameter(torch.randn(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.addmm(self.bias, x.flatten(0, 1), self.kernel).unflatten(0, x.shape[:2]).relu()
        return F.linear((self.mixing[1] @ x).relu().mean(1), self.row.expand(2, 4))


def test_views_of_parameters() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Convolved().double(), torch.rand(2, 3, 6).double()
        relevance = torch.rand(2, 2).double()
    found = LRP(model, input_rule="activation").attribute_parameters(x, lambda _: relevance)
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "kernel": (6, 4), "bias": (4,), "mixing": (2, 5, 3), "row": (1, 4)
    }  # fmt: skip
    assert not found["mixing"][0].any()
    for name in ("kernel", "mixing", "row"):
        torch.testing.assert_close(found[name].sum(), relevance.sum())
    h = torch.addmm(model.bias, x.flatten(0, 1), model.kernel).unflatten(0, (2, 3)).relu()
    pooled = (model.mixing[1] @ h).relu().mean(1).detach()
    by_hand = (model.row.detach() * pooled).clamp(min=0)
    shares = torch.where(by_hand.sum(1, keepdim=True) > 0, by_hand / by_hand.sum(1, keepdim=True), 0.25)
    torch.testing.assert_close(found["row"][0], (shares * relevance.sum(1, keepdim=True)).sum(0))


def test_recurrent_layers_are_left_out() -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    lrp, x = LRP(Waves()), torch.rand(2, 5, 3)
    assert list(lrp.attribute_parameters(x, 1)) == ["head.weight", "head.bias"]
    with pytest.raises(InputError, match=r"no relevance passes 'lstm\.weight_ih_l0'"):
        lrp.attribute_parameters(x, 1, "lstm.weight_ih_l0")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("7.weight", "the network has no parameter '7.weight': its parameters are in 0, 2, 3, 6"),
        (["6.weight", "6.weights"], "has no parameter '6.weights'"),
        ("", "has no parameter ''"),
        ("2.bn1.weight", "no relevance passes '2.bn1.weight'"),
        (3, "expected names of model.named_parameters"),
        ([3], "expected names of model.named_parameters"),
    ],
)
def test_parameters_that_are_not_there(parameters: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(residual()).attribute_parameters(torch.rand(2, 3, 13, 11).double(), 1, parameters)
    assert "\n" not in str(error.value)


def test_a_rule_that_goes_its_own_way() -> None:
    class Own:
        conserves = True

        def propagate(self, layer: Any, h: Tensor, relevance: Tensor, **facts: Any) -> Tensor:
            return (relevance.sum(1, keepdim=True) / h.shape[1]).expand_as(h).clone()

    with pytest.raises(InputError, match=r"what passes a weight is not known of Own.* neither layer.transpose nor"):
        LRP(nn.Linear(4, 3), input_rule=Own()).attribute_parameters(torch.rand(2, 4), 1)


def test_a_network_that_is_one_layer() -> None:
    layer, x = nn.Linear(4, 3), torch.rand(2, 4)
    found = LRP(layer).attribute_parameters(x, 1, "weight")
    torch.testing.assert_close(found["weight"].sum(), layer(x).softmax(1)[:, 1].sum().detach())


@pytest.mark.parametrize("rule", ["z_plus", "epsilon"])
@pytest.mark.parametrize("count", [1, 3])
def test_callers_gradient_mode_does_not_matter(rule: str, count: int) -> None:
    model, x = residual(), torch.rand(count, 3, 13, 11).double()
    expected = LRP(model, rule=rule).attribute_parameters(x, 1)
    with torch.inference_mode():
        within, made_within = LRP(model, rule=rule).attribute_parameters(x, 1), x.clone()
    outside = LRP(model, rule=rule).attribute_parameters(made_within, 1)
    with torch.no_grad():
        without = LRP(model, rule=rule).attribute_parameters(x, 1)
    for found in (within, outside, without):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_network_without_weights_of_their_own_is_one_line() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, -1)), nn.RNN(6, 3, batch_first=True))
    with pytest.raises(InputError, match="relevance passes none that has a name"):
        LRP(network, output=0, start=torch.ones_like).attribute_parameters(torch.rand(2, 6))
