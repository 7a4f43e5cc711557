"""The contributions that class evidence begins with are values times gradients, whatever the head is made of."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.explainers import ClassEvidence

CLASSES = 5


def seeded(make: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def images() -> Tensor:
    x: Tensor = seeded(lambda: torch.rand(3, 3, 12, 12)).double()
    return x


def body() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())


def drawn(module: nn.Module) -> nn.Module:
    """Statistics, weights and biases that are not the initial ones."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5) if "var" in name else nn.init.normal_(tensor)
    return module


class Deviation(nn.Module):
    """A normalisation whose deviation is a constant to autograd, by its definition."""

    def __init__(self, norm: nn.Module, dims: tuple[int, ...], groups: int = 1, centred: bool = True) -> None:
        super().__init__()
        self.norm: Any = norm
        self.dims, self.groups, self.centred = dims, groups, centred

    def forward(self, x: Tensor) -> Tensor:
        grouped = x if self.groups == 1 else x.reshape(len(x), self.groups, -1)
        centred = grouped - grouped.mean(self.dims, keepdim=True) if self.centred else grouped
        eps: Any = self.norm.eps if self.norm.eps is not None else torch.finfo(x.dtype).eps
        power = centred.detach().square().mean(self.dims, keepdim=True)
        shape = (-1, *[1] * (x.dim() - 2)) if x.dim() > 2 else (-1,)
        result: Tensor = (centred / (power + eps).sqrt()).reshape(x.shape) * self.norm.weight.reshape(shape)
        bias: Any = getattr(self.norm, "bias", None)
        return result if bias is None else result + bias.reshape(shape)


def contributions(network: nn.Module, head: nn.Module, x: Tensor, label: int) -> Tensor:
    """Value times gradient of the log-odds at what the head is given, summed over channels."""
    features = network[0](x).detach().requires_grad_()  # type: ignore[index]
    logits = head(features)
    others = logits.scatter(1, torch.full((len(x), 1), label), -torch.inf)
    (gradient,) = torch.autograd.grad((logits[:, label] - others.logsumexp(1)).sum(), features)
    found: Tensor = (features * gradient).sum(1).detach()
    return found


class Beside(nn.Module):
    """Pools a map as it is and normalised: what comes before is the last place that all contributions pass."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = x.mean((2, 3)) + self.norm(x).relu().mean((2, 3))
        return pooled


class Then(nn.Module):
    """A function of what it is given, as a head writes it without a module."""

    def __init__(self, function: Any, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.constants = nn.ParameterList([torch.zeros(shape) for shape in shapes])

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x, *self.constants)
        return result


CONSTANTS: dict[str, Any] = {
    "x + number": lambda: [Then(lambda x: x + 7)],
    "number - x": lambda: [Then(lambda x: 7 - x)],
    "x + b": lambda: [Then(lambda x, b: x + b, (8,))],
    "x - b, weighed": lambda: [Then(lambda x, b: torch.sub(x, b, alpha=3), (8,))],
    "b + x, weighed": lambda: [Then(lambda x, b: torch.add(b.expand(3, 8), x, alpha=3), (8,))],
    "b - x, weighed": lambda: [Then(lambda x, b: torch.rsub(x, b, alpha=2), (8,))],
    "x += b": lambda: [Then(lambda x, b: (2 * x).add_(b), (8,))],
    "x + column": lambda: [Then(lambda x, b: (x[:, :1] + b).repeat(1, 4) * x, (2,))],
    "x w + b": lambda: [Then(lambda x, w, b: torch.addcmul(b, x, w), (8,), (8,))],
    "lerp": lambda: [Then(lambda x, b: torch.lerp(x, b.expand(3, 8), 0.3), (8,))],
    "baddbmm": lambda: [Then(lambda x, w, b: torch.baddbmm(b, x[:, None], w)[:, 0], (3, 8, 8), (3, 1, 8))],
    "relu": lambda: [nn.Linear(8, 8), Then(lambda x, b: (x + b).relu(), (8,))],
    "1 - sigmoid": lambda: [nn.Linear(8, 8), nn.Sigmoid(), Then(lambda x: 1 - x)],
    "feature of ones": lambda: [Then(lambda x: torch.cat([x[:, :7], torch.ones_like(x[:, 7:])], 1))],
    "chosen": lambda: [Then(lambda x, b: torch.where(x > x.mean(1, keepdim=True), x, b), (8,))],
}
"""Heads in which a constant meets what depends on the image: a bias, by another name."""


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_takes_its_part_of_the_contributions(name: str) -> None:
    network = seeded(lambda: drawn(nn.Sequential(body(), *POOL, *CONSTANTS[name](), nn.Linear(8, CLASSES)))).double()
    head = network.eval()[1:]
    for label in range(CLASSES):
        found = LRP(network, start="evidence", signed=True).attribute(images(), label, at="0.4").sum(1)
        expected = contributions(network, head, images(), label)
        scaled = expected / expected.abs().sum((1, 2), keepdim=True)
        torch.testing.assert_close(found, scaled * network(images()).softmax(1)[:, label, None, None].detach())


SHIFTS: dict[str, Any] = {
    "number": lambda x: x + 1000,
    "its own mean": lambda x: x - x.mean(1, keepdim=True),
    "its own greatest": lambda x: x - x.amax(1, keepdim=True),
    "logarithms of probabilities": lambda x: x.log_softmax(1) + 3,
}


@pytest.mark.parametrize("against", ["rivals", "strongest", "mean", 4])
@pytest.mark.parametrize("name", SHIFTS)
def test_what_is_added_to_all_logits_changes_nothing(name: str, against: Any) -> None:
    network = seeded(lambda: drawn(nn.Sequential(body(), *POOL, nn.Linear(8, CLASSES)))).double().eval()
    expected = ClassEvidence(network, against=against).attribute(images(), 1)
    assert (expected.flatten(1).std(1) > 0).any()
    found = ClassEvidence(nn.Sequential(*network, Then(SHIFTS[name])), against=against).attribute(images(), 1)
    torch.testing.assert_close(found, expected)


def test_a_class_that_nothing_in_the_image_speaks_for_has_a_flat_map() -> None:
    """Its score is a constant: what the features are multiplied by is 0."""
    network = seeded(lambda: nn.Sequential(body(), *POOL, nn.Linear(8, CLASSES), Then(lambda x: x * 0 + 1))).double()
    with pytest.warns(UserWarning, match="no position speaks for the class"):
        found = ClassEvidence(network.eval()).attribute(images(), 1)
    torch.testing.assert_close(found, torch.full_like(found, 1 / CLASSES / found[0].numel()))


COLUMNS: dict[str, Any] = {
    "einsum": lambda x, w, b: torch.einsum("nc,kc->nk", x, w) + b,
    "matrix times column": lambda x, w, b: (w @ x[:, :, None])[:, :, 0] + b,
    "convolution": lambda x, w, b: nn.functional.conv1d(x[:, :, None], w[:, :, None], b).flatten(1),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_scores_is_not_taken_for_patches(name: str) -> None:
    """Five classes are as many as two by two patches and a class token."""
    network = seeded(lambda: drawn(nn.Sequential(body(), *POOL, nn.Linear(8, CLASSES)))).double().eval()
    written = Then(COLUMNS[name], (CLASSES, 8), (CLASSES,))
    written.constants[0].data, written.constants[1].data = network[3].weight.data, network[3].bias.data
    expected = ClassEvidence(network, at="features").attribute(images(), 1)
    found = ClassEvidence(nn.Sequential(*network[:3], written), at="features").attribute(images(), 1)
    torch.testing.assert_close(found, expected)


POOL = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
HEADS: dict[str, tuple[Any, Any]] = {
    "linear": (lambda: [*POOL], None),
    "batch norm": (lambda: [*POOL, nn.BatchNorm1d(8)], None),
    "batch norm of maps": (lambda: [Beside(nn.BatchNorm2d(8))], None),
    "dense, batch norm": (lambda: [*POOL, nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()], None),
    "sigmoid": (lambda: [*POOL, nn.Linear(8, 8), nn.Sigmoid()], None),
    "hardsigmoid": (lambda: [*POOL, nn.Linear(8, 8), nn.Hardsigmoid(inplace=True)], None),
    "softplus": (lambda: [*POOL, nn.Linear(8, 8), nn.Softplus()], None),
    "log sigmoid": (lambda: [*POOL, nn.Linear(8, 8), nn.LogSigmoid()], None),
    "softmax": (lambda: [*POOL, nn.Linear(8, 8), nn.Softmax(1)], None),
    "layer norm": (lambda: [*POOL, nn.LayerNorm(8)], lambda norm: Deviation(norm, (1,))),
    "rms norm": (lambda: [*POOL, nn.RMSNorm(8)], lambda norm: Deviation(norm, (1,), centred=False)),
    "group norm": (lambda: [*POOL, nn.GroupNorm(2, 8)], lambda norm: Deviation(norm, (2,), 2)),
    "instance norm": (
        lambda: [Beside(nn.InstanceNorm2d(8, affine=True))], lambda beside: Beside(Deviation(beside.norm, (2, 3))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_contributions_are_values_times_gradients(name: str) -> None:
    """Of normalisations by statistics of the image the deviation is a constant."""
    make, by_definition = HEADS[name]
    network = seeded(lambda: drawn(nn.Sequential(body(), *make(), nn.Linear(8, CLASSES)))).double().eval()
    head = nn.Sequential(*list(network)[1:])
    if by_definition is not None:
        expected_head = nn.Sequential(
            *[by_definition(m) if isinstance(m, Beside) or "Norm" in type(m).__name__ else m for m in head]
        )
        torch.testing.assert_close(expected_head(network[0](images())), network(images()))
    else:
        expected_head = head
    for label in range(CLASSES):
        found = LRP(network, start="evidence", signed=True).attribute(images(), label, at="0.4").sum(1)
        expected = contributions(network, expected_head, images(), label)
        scaled = expected / expected.abs().sum((1, 2), keepdim=True)
        probability = network(images()).softmax(1)[:, label, None, None].detach()
        torch.testing.assert_close(found, scaled * probability)


ENDS: dict[str, tuple[nn.Module, list[Any]]] = {
    "softmax": (nn.Softmax(1), ["rivals", "strongest", "mean", "none", 4]),
    "softmax, reshaped": (nn.Sequential(nn.Softmax(1), nn.Flatten()), ["rivals", 4]),
    "log softmax": (nn.LogSoftmax(1), ["rivals", "strongest", "mean", "none", 4]),
    "sigmoid": (nn.Sigmoid(), ["none"]),
}


@pytest.mark.parametrize("certainty", [1.0, 300.0])
@pytest.mark.parametrize("name", ENDS)
def test_a_network_that_ends_in_probabilities_has_the_evidence_of_its_logits(name: str, certainty: float) -> None:
    """However sure it is: float32 rounds its probabilities to 0 and 1."""
    end, contrasts = ENDS[name]
    network = seeded(lambda: drawn(nn.Sequential(body(), *POOL, nn.Linear(8, CLASSES)))).eval()
    network[3].weight.data *= certainty
    network[3].bias.data *= certainty
    x, ended = images().float(), nn.Sequential(*network, end)
    scores: Any = "probabilities" if name == "sigmoid" else "auto"
    for against in contrasts:
        for label in (0, 3):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                options: dict[str, Any] = {"signed": True, "at": "features"}
                expected = ClassEvidence(network, against=against, **options).attribute(x, label)
                found = ClassEvidence(ended, against=against, scores=scores, **options).attribute(x, label)
            for one, other in zip(found, expected, strict=True):
                if min(one.abs().sum(), other.abs().sum()) > 1e-30:  # its probability is not rounded to 0
                    torch.testing.assert_close(one / one.abs().sum(), other / other.abs().sum(), rtol=1e-4, atol=1e-9)


def test_one_sigmoid_has_the_evidence_of_its_logit() -> None:
    network = seeded(lambda: drawn(nn.Sequential(body(), *POOL, nn.Linear(8, 1)))).double().eval()
    for label in (0, 1):
        expected = ClassEvidence(network, signed=True).attribute(images(), label)
        with pytest.warns(UserWarning, match="one sigmoid"):
            found = ClassEvidence(nn.Sequential(*network, nn.Sigmoid()), signed=True).attribute(images(), label)
        torch.testing.assert_close(found, expected)
