"""Explainers and metrics read one logit, and probabilities, as :class:`relsplit.LRP` does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import seeded_images, small_vgg
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.explainers import (
    RISE,
    AbsLRP,
    GradCAM,
    IntegratedGradients,
    MeasuredPyramid,
    RelevancePyramid,
    ScoreCAM,
    SmoothGrad,
)
from relsplit.metrics import InsertionDeletion, flipping_area

EXPLAINERS: dict[str, Callable[[nn.Module], Any]] = {
    "LRP": LRP,
    "RISE": lambda network: RISE(network, samples=20),
    "ScoreCAM": lambda network: ScoreCAM(network, "features.3"),
    "ScoreCAM, auto": lambda network: ScoreCAM(network, "auto"),
    "GradCAM of the probability": lambda network: GradCAM(network, "features.3", score="probability"),
    "GradCAM of the logit": lambda network: GradCAM(network, "features.3"),
    "IntegratedGradients of the probability": lambda network: IntegratedGradients(
        network, steps=3, score="probability"
    ),
    "SmoothGrad of the probability": lambda network: SmoothGrad(network, samples=3, score="probability"),
    "RelevancePyramid": RelevancePyramid,
    "MeasuredPyramid": lambda network: MeasuredPyramid(network, levels=3),
    "AbsLRP": lambda network: AbsLRP(network, contrastive=False),
}
PROBABILITIES = [
    "LRP", "RISE", "ScoreCAM", "GradCAM of the probability", "IntegratedGradients of the probability",
    "RelevancePyramid", "MeasuredPyramid",
]  # fmt: skip


def with_classes(count: int) -> nn.Sequential:
    """The small VGG with a head of ``count`` classes, whose probabilities are far from equal."""
    network = small_vgg()
    head = nn.Linear(12, count)
    weight = torch.linspace(-3, 4, 5 * 12).reshape(12, 5).T.double()
    with torch.no_grad():
        head.weight.copy_(weight[:count])
        head.bias.copy_(torch.linspace(-0.5, 0.5, count))
    network.classifier = head
    return network.double().eval()


def one_logit() -> nn.Sequential:
    return with_classes(1)


def two_logits() -> nn.Sequential:
    """The same decision by two classes: the other one's logit is 0."""
    network = with_classes(2)
    with torch.no_grad():
        for own, one in zip(network.classifier.parameters(), with_classes(1).classifier.parameters(), strict=True):
            own.copy_(torch.cat([torch.zeros_like(one), one]))
    return network


class Squeezed(nn.Module):
    """The network with one logit, answering (N,)."""

    def __init__(self) -> None:
        super().__init__()
        network = one_logit()
        for name, child in network.named_children():
            setattr(self, name, child)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.features(x)))).squeeze(1)


def with_softmax() -> nn.Sequential:
    network = with_classes(4)
    network.add_module("softmax", nn.Softmax(1))
    return network.eval()


def images() -> Tensor:
    return seeded_images(2, size=16)


def alike(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("make", [one_logit, Squeezed], ids=["(N, 1)", "(N,)"])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_one_logit_is_explained_as_two_classes_would_be(name: str, make: Callable[[], nn.Module]) -> None:
    network, twin, x = make().eval(), two_logits(), images()
    alike(EXPLAINERS[name](network).attribute(x, 1), EXPLAINERS[name](twin).attribute(x, 1))


def test_one_logit_has_no_others_to_subtract() -> None:
    with pytest.raises(InputError, match="one number for two: make it with contrastive=False"):
        AbsLRP(one_logit()).attribute(images(), 1)
    found = AbsLRP(one_logit(), contrastive=False)
    torch.testing.assert_close(found.attribute(images(), 0), -found.attribute(images(), 1), rtol=0, atol=0)


@pytest.mark.parametrize("name", PROBABILITIES)
def test_the_other_side_of_one_logit(name: str) -> None:
    """Methods that only run the network forward see the two classes' maps; LRP's sum is the other probability."""
    network, twin, x = one_logit(), two_logits(), images()
    found = EXPLAINERS[name](network).attribute(x, 0)
    if name in ("LRP", "RelevancePyramid", "MeasuredPyramid"):
        alike(found.flatten(1).sum(1), twin(x).softmax(1)[:, 0].detach())
    else:
        alike(found, EXPLAINERS[name](twin).attribute(x, 0))


@pytest.mark.parametrize("shift", [-20, 20])
@pytest.mark.parametrize("name", [name for name in EXPLAINERS if name != "AbsLRP"])
def test_the_predicted_side_of_one_logit(name: str, shift: float) -> None:
    network, x = one_logit(), images()
    with torch.no_grad():
        network.classifier.bias.add_(shift)
    assert (network(x) * shift > 0).all()
    alike(EXPLAINERS[name](network).attribute(x), EXPLAINERS[name](network).attribute(x, int(shift > 0)))


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.filterwarnings("ignore:.*probabilit")
def test_probabilities_are_not_made_to_probabilities_again(name: str) -> None:
    alike(
        EXPLAINERS[name](with_softmax()).attribute(images(), 2),
        EXPLAINERS[name](with_classes(4)).attribute(images(), 2),
    )


METRICS: dict[str, Callable[[nn.Module], Any]] = {
    "published": lambda network: InsertionDeletion(network),
    "strict": lambda network: InsertionDeletion(network, protocol="strict"),
    "levels": lambda network: InsertionDeletion(network, protocol="levels"),
}


def scored(metric: InsertionDeletion, x: Tensor, target: int) -> dict[str, Tensor]:
    metric.update(x, LRP(with_classes(4)).attribute(x, 2).sum(1), torch.full((len(x),), target))
    return metric.compute()


@pytest.mark.parametrize("make", [one_logit, Squeezed], ids=["(N, 1)", "(N,)"])
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("name", METRICS)
def test_curves_of_one_logit_are_those_of_two_classes(name: str, target: int, make: Callable[[], nn.Module]) -> None:
    found, expected = (scored(METRICS[name](network.eval()), images(), target) for network in (make(), two_logits()))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)
    assert float(found["insertion"]) < 1 - 1e-6


@pytest.mark.filterwarnings("ignore:.*probabilit")
@pytest.mark.parametrize("name", METRICS)
def test_curves_of_probabilities_are_those_of_the_logits(name: str) -> None:
    found, expected = (scored(METRICS[name](network), images(), 2) for network in (with_softmax(), with_classes(4)))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)


@pytest.mark.parametrize("target", [0, 1])
def test_pixel_flipping_of_one_logit(target: int) -> None:
    x = images()
    maps, targets = LRP(with_classes(4)).attribute(x, 2).sum(1), torch.full((len(x),), target)
    found, expected = (flipping_area(network, x, maps, targets, steps=4) for network in (one_logit(), two_logits()))
    torch.testing.assert_close(found, expected)
