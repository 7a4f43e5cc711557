"""Class 0 of one logit has the map of the network whose last layer is negated."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from plain_networks import alike, images, plain
from torch import Tensor, nn

from relsplit import LRP
from relsplit.explainers import ClassEvidence, ContrastiveLRP, RelevancePyramid
from relsplit.lrp.cuda_graph import PREDICTED, pass_without_questions
from relsplit.targets import Pixels, Value


class Headed(nn.Module):
    """Features of images, and what ``head`` makes of them with layers that are negated in a twin."""

    def __init__(self, head: Callable[["Headed", Tensor], Tensor]) -> None:
        super().__init__()
        self.features = plain()[:4]
        self.head = head
        self.is_negated = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.last = nn.ModuleDict(
                {"dense": nn.Linear(12, 1), "other": nn.Linear(12, 1), "convolution": nn.Conv2d(12, 1, 3, padding=1)}
            ).double()
            self.last.matrix = nn.Parameter(torch.randn(12, 1).double())
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self, self.features(x))

    def negated(self) -> "Headed":
        twin = copy.deepcopy(self)
        twin.is_negated = True
        with torch.no_grad():
            for parameter in twin.last.parameters():
                parameter.neg_()
        return twin


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def tokens(x: Tensor) -> Tensor:
    """(T, N, D)"""
    return x.flatten(2).permute(2, 0, 1)


HEADS: dict[str, Callable[[Headed, Tensor], Tensor]] = {
    "(N, 1)": lambda net, x: net.last["dense"](pooled(x)),
    "(N,)": lambda net, x: net.last["dense"](pooled(x))[:, 0],
    "a matrix": lambda net, x: pooled(x) @ net.last.matrix,
    "scaled and shifted": lambda net, x: (net.last["dense"](pooled(x)) / 0.5).squeeze(1),
    "a map, pooled": lambda net, x: net.last["convolution"](x).mean((2, 3)),
    "a map, pooled in windows": lambda net, x: nn.functional.avg_pool2d(net.last["convolution"](x), 5).flatten(1),
    "the greatest of a map": lambda net, x: (torch.amin if net.is_negated else torch.amax)(
        net.last["convolution"](x), (2, 3)
    ),
    "tokens first": lambda net, x: net.last["dense"](tokens(x)).mean(0),
    "tokens first, flattened": lambda net, x: net.last["dense"](tokens(x).reshape(-1, 12)).view(-1, len(x)).sum(0),
    "two heads": lambda net, x: net.last["dense"](pooled(x)) + net.last["other"](x.amax((2, 3))),
    "a skip connection": lambda net, x: (
        (y := net.last["convolution"](x)) + nn.functional.pad(y[..., 1:], (0, 1))
    ).mean((2, 3)),
    "squashed": lambda net, x: net.last["dense"](pooled(x)).tanh(),
}
RULES: list[Any] = ["z_plus", "alpha2_beta1", "ratio", "gamma", "epsilon", {"last": "z_plus", "*": "gamma"}]
TARGET = torch.tensor([0, 1, 0])


@pytest.fixture(params=HEADS)
def network(request: pytest.FixtureRequest) -> Headed:
    return Headed(HEADS[request.param])


@pytest.mark.parametrize("max_pool", ["average", "winner"])
def test_it_is_the_network_with_its_last_layer_negated(network: Headed, max_pool: Any) -> None:
    x = images(3)
    lrp, twin = (LRP(each, max_pool=max_pool) for each in (network, network.negated()))
    expected = twin.attribute(x, 1)
    relevance, sums = lrp.attribute(x, 0, return_sums=True)
    alike(relevance, expected)
    p = (-network(x)).sigmoid().detach().flatten()
    torch.testing.assert_close(sums["output"], p)
    torch.testing.assert_close(relevance.flatten(1).sum(1), p, rtol=1e-6, atol=0)
    assert not torch.allclose(relevance / p.view(-1, 1, 1, 1), lrp.attribute(x, 1) / (1 - p).view(-1, 1, 1, 1))


def test_a_batch_is_of_both_classes(network: Headed) -> None:
    x = images(3)
    lrp, twin = LRP(network), LRP(network.negated())
    together = lrp.attribute(x, TARGET)
    own, contrary = lrp.attribute(x, 1), twin.attribute(x, 1)
    alike(together, torch.where((TARGET == 1).view(-1, 1, 1, 1), own, contrary))
    alike(twin.attribute(x, 1 - TARGET), together)
    predicted = (network(x).flatten() > 0).long()
    assert torch.equal(lrp.attribute(x), lrp.attribute(x, predicted))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("head", ["(N,)", "tokens first"])
def test_whatever_the_rule(head: str, rule: Any) -> None:
    network, x = Headed(HEADS[head]), images(3)
    alike(LRP(network, rule=rule).attribute(x, 0), LRP(network.negated(), rule=rule).attribute(x, 1))


@pytest.mark.parametrize("start", ["probability", "logit", "one"])
def test_whatever_the_start(start: Any) -> None:
    network, x = Headed(HEADS["(N,)"]), images(3)
    relevance = LRP(network, start=start).attribute(x, 0)
    alike(relevance, LRP(network.negated(), start=start).attribute(x, 1))
    if start == "logit":
        alike(relevance, LRP(network.negated()).attribute(x, Value()))  # a regression's contrary


def test_the_first_layer_is_the_last() -> None:
    table = torch.rand(3, 12, generator=torch.Generator().manual_seed(0)).double()
    network = nn.Linear(12, 1).double()
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.weight.neg_(), twin.bias.neg_()
    for rule in ("ones", "activation", "epsilon"):
        alike(
            LRP(network, input_rule=rule).attribute(table, TARGET),
            LRP(twin, input_rule=rule).attribute(table, 1 - TARGET),
        )
    lrp = LRP(network, input_rule="activation")
    assert (lrp.attribute(table, 0)[:, network.weight[0] > 0] == 0).all()
    assert (lrp.attribute(table, 1)[:, network.weight[0] < 0] == 0).all()


def test_one_probability() -> None:
    network, x = Headed(lambda net, x: net.last["dense"](pooled(x)).sigmoid()), images(3)
    logit = Headed(HEADS["(N, 1)"])
    expected = LRP(logit).attribute(x, TARGET)
    alike(LRP(network, scores="probabilities").attribute(x, TARGET), expected)


def test_what_passes_the_weights() -> None:
    network, x = Headed(HEADS["(N, 1)"]), images(3)
    found = LRP(network).attribute_parameters(x, TARGET)
    expected = LRP(network.negated()).attribute_parameters(x, 1 - TARGET)
    assert found.keys() == expected.keys()
    for name in found:
        alike(found[name], expected[name])
    start = LRP(network).attribute(x, TARGET).sum()
    torch.testing.assert_close(found["last.dense.weight"].sum(), start)


def test_a_graph_of_relevance() -> None:
    network, twin = Headed(HEADS["(N, 1)"]), Headed(HEADS["(N, 1)"]).negated()
    x = images(3).requires_grad_()
    gradients = []
    for each, target in ((network, TARGET), (twin, 1 - TARGET)):
        relevance = LRP(each).attribute(x, target, create_graph=True)
        gradients.append(torch.autograd.grad(relevance.square().sum(), [x, *each.features.parameters()]))
    for found, expected in zip(*gradients, strict=True):
        alike(found, expected)


def test_a_recorded_pass() -> None:
    network, x = Headed(HEADS["(N, 1)"]), images(3)
    target = torch.tensor([PREDICTED, 1, 0])
    relevance, scores = pass_without_questions(LRP(network), x, target, "logit")
    predicted = torch.cat([(scores[:1, 0] > 0).long(), target[1:]])
    assert torch.equal(relevance, LRP(network).attribute(x, predicted))


@pytest.mark.parametrize("make", [RelevancePyramid, ClassEvidence])
def test_methods_built_on_relevance(make: Any) -> None:
    network, x = Headed(HEADS["(N, 1)"]), images(3)
    alike(make(network).attribute(x, TARGET), make(network.negated()).attribute(x, 1 - TARGET))


def sign(net: Headed) -> int:
    """-1 where a head takes its layers' negatives, 1 in the twin whose weights are negated."""
    return 1 if net.is_negated else -1


TURNED: dict[str, Callable[[Headed, Tensor], Tensor]] = {
    "negated": lambda net, x: (torch.clone if net.is_negated else torch.neg)(net.last["dense"](pooled(x))),
    "from a number": lambda net, x: (torch.add if net.is_negated else torch.rsub)(net.last["dense"](pooled(x)), 0.5),
    "from a constant": lambda net, x: torch.sub(x.new_ones(3, 1), net.last["dense"](pooled(x)), alpha=-sign(net)),
    "times a number": lambda net, x: net.last["dense"](pooled(x)) * (2.0 * sign(net)),
    "by a constant": lambda net, x: net.last["dense"](pooled(x)) / x.new_full((1,), 0.5 * sign(net)),
    "a map, negated": lambda net, x: (net.last["convolution"](x) * sign(net)).mean((2, 3)),
    "two heads": lambda net, x: sign(net) * (net.last["dense"](pooled(x)) + net.last["other"](x.amax((2, 3)))),
    "twice": lambda net, x: (net.last["dense"](pooled(x)) * sign(net)).neg().neg(),
    "less a part of itself": lambda net, x: (
        0.4 * (z := net.last["dense"](pooled(x)) * sign(net)).tanh() - (-z - z.tanh() / 2)
    ),
    "with constants of both signs": lambda net, x: (
        (pooled(x) * net.last.matrix[:, 0] * sign(net)).sum(1) + sign(net) * net.last["dense"](pooled(x))[:, 0]
    ),
}


@pytest.mark.parametrize("head", TURNED)
def test_a_network_that_takes_its_last_layers_negatives(head: str) -> None:
    network, x = Headed(TURNED[head]), images(3)
    twin = network.negated()
    torch.testing.assert_close(network(x), twin(x))
    for target in (0, 1, TARGET):
        alike(LRP(network).attribute(x, target), LRP(twin).attribute(x, target))
    alike(LRP(network).attribute(x, Value()), LRP(twin).attribute(x, Value()))
    assert not torch.allclose(LRP(network, start="one").attribute(x, 0), LRP(network, start="one").attribute(x, 1))


def test_a_difference_of_two_heads() -> None:
    """What speaks for the second head speaks against class 1."""
    network, x = Headed(lambda net, x: net.last["dense"](pooled(x)) - net.last["other"](pooled(x))), images(3)
    turned = Headed(lambda net, x: net.last["other"](pooled(x)) - net.last["dense"](pooled(x)))
    alike(LRP(network).attribute(x, TARGET), LRP(turned).attribute(x, 1 - TARGET))
    relevance, sums = LRP(network).attribute(x, TARGET, return_sums=True)
    torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"], rtol=1e-6, atol=0)


def test_a_probability_that_is_left_over() -> None:
    left, x = Headed(lambda net, x: 1 - net.last["dense"](pooled(x)).sigmoid()), images(3)
    logit = Headed(HEADS["(N, 1)"])
    alike(LRP(left, scores="probabilities").attribute(x, TARGET), LRP(logit).attribute(x, 1 - TARGET))


def test_two_classes_of_one_number() -> None:
    both = Headed(lambda net, x: torch.cat([-(z := net.last["dense"](pooled(x))), z], 1))
    logit, x = Headed(HEADS["(N, 1)"]), images(3)
    for target in (0, 1, TARGET):
        alike(LRP(both, start="one").attribute(x, target), LRP(logit, start="one").attribute(x, target))


def test_a_dense_output_that_is_negated() -> None:
    target, x = Pixels(0, at=(1, 2), score="value"), images(3)
    network = Headed(lambda net, x: sign(net) * net.last["convolution"](x))
    alike(LRP(network).attribute(x, target), LRP(network.negated()).attribute(x, target))


def test_a_product_of_two_activations_is_passed_alike() -> None:
    """No weights there could be negated: the sum of products is, and both maps hold what they start from."""
    network = Headed(lambda net, x: (x.mean((2, 3)) * (net.last["dense"](pooled(x)) - x.amax((2, 3)))).sum(1))
    x = images(3)
    for target in (0, 1):
        relevance, sums = LRP(network).attribute(x, target, return_sums=True)
        torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"], rtol=1e-6, atol=0)


def test_labels_are_no_contraries() -> None:
    network, x = nn.Sequential(*plain(classes=2), nn.Sigmoid()).eval(), images(3)
    lrp = LRP(network, scores="probabilities")
    expected = LRP(plain(classes=2), start=lambda z: z.sigmoid() * torch.tensor([1.0, 0.0])).attribute(x)
    alike(lrp.attribute(x, 0), expected)


def test_the_dual_of_a_class_is_still_its_contrary() -> None:
    network, x = plain(), images(2)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin[6].weight.neg_()
    start = lambda _: network(x).softmax(1).detach() * (torch.arange(4) == 2)  # noqa: E731
    expected = LRP(network, start=start).attribute(x) - LRP(twin, start=start).attribute(x)
    alike(ContrastiveLRP(network, "negated").attribute(x, 2), expected.clamp(min=0).sum(1))
