"""The composites that zennit names, against zennit itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18
from zennit.composites import EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer

from relsplit import LRP
from relsplit.lrp.rules.composites import pixel_box
from relsplit.lrp.splitting.proportional import Proportional

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 10),
        nn.ReLU(),
        nn.Linear(10, 5),
    )


def residual() -> nn.Module:
    model = resnet18(num_classes=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.eps = 0.0  # zennit leaves it in the normalisation that it has merged: 1 - 5e-6 a layer
    return model


def box(**options: Any) -> EpsilonGammaBox:
    low, high = (((end - torch.tensor(MEAN)) / torch.tensor(STD)).double().reshape(1, 3, 1, 1) for end in (0.0, 1.0))
    return EpsilonGammaBox(low=low, high=high, **options)


COMPOSITES = {
    "epsilon_plus": ("flat", EpsilonPlusFlat),
    "epsilon_alpha2_beta1": ("flat", EpsilonAlpha2Beta1Flat),
    "epsilon_gamma": (pixel_box(MEAN, STD, 1e-6), box),
}


@pytest.mark.parametrize(("network", "canonizers"), [(plain, ()), (residual, (ResNetCanonizer,))])
@pytest.mark.parametrize("rule", COMPOSITES)
def test_equal_to_zennit(network: Callable[[], nn.Module], canonizers: tuple[Any, ...], rule: str) -> None:
    torch.manual_seed(0)
    model = network().double().eval()
    images = (torch.rand(2, 3, 32, 32).double() - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(
        3, 1, 1
    )
    input_rule, composite = COMPOSITES[rule]
    found = LRP(
        folded(model) if canonizers else model,
        rule=rule,
        input_rule=input_rule,
        split=Proportional(epsilon=1e-6),
        max_pool="winner",
        stabilizer=1e-6,
        start="logit",
    ).attribute(images, 3)
    expected = by_zennit(model, composite(canonizers=[each() for each in canonizers]), images, 3)
    difference = (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    assert difference.max() < 1e-5


def folded(model: nn.Module) -> nn.Module:
    """zennit's canonizer, too, folds BatchNorm into the convolutions, whose bias holds its shift then."""
    from torch.fx.experimental.optimization import fuse

    return fuse(model)


def by_zennit(model: nn.Module, composite: Any, images: Tensor, target: int) -> Tensor:
    images = images.clone().requires_grad_()
    with composite.context(model) as changed:
        scores = changed(images)
        (relevance,) = torch.autograd.grad(
            scores, images, torch.eye(5).double()[[target] * len(images)] * scores.detach()
        )
    return relevance


@pytest.mark.parametrize("rule", ["epsilon_plus", "epsilon_gamma"])
def test_without_biases_the_rest_is_conserved(rule: str) -> None:
    """What is lost is the biases' share (alpha2-beta1 also doubles relevance that has contributions of one sign)."""
    torch.manual_seed(0)
    model = plain().double().eval()
    images = torch.rand(2, 3, 32, 32).double()
    with_biases = LRP(model, rule=rule, input_rule="flat").attribute(images, return_sums=True)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(module.bias)
    without = LRP(model, rule=rule, input_rule="flat").attribute(images, return_sums=True)
    gaps = [((sums["input"] - sums["output"]) / sums["output"]).abs().max() for _, sums in (with_biases, without)]
    assert gaps[0] > 1e-3
    assert gaps[1] < 1e-3
