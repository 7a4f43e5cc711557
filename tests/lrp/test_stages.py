"""Relevance inside a network: it is what the network above would send down, and all of it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import densenet121, mobilenet_v2, resnet18, vgg11
from torchvision.models.swin_transformer import SwinTransformer

from relsplit import LRP
from relsplit.errors import InputError


def sequential() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    below = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU())
    above = nn.Sequential(nn.Conv2d(12, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return below.double(), above.double()


@pytest.mark.parametrize("rule", ["z_plus", "gamma", "epsilon"])
def test_it_is_what_the_network_above_sends_down(rule: str) -> None:
    below, above = sequential()
    images = torch.rand(3, 3, 16, 16).double()
    features = below(images).detach()
    found = LRP(nn.Sequential(below, above), rule=rule).attribute(images, 1, at="0")
    input_rule = "activation" if rule == "z_plus" else rule
    expected = LRP(above, rule=rule, input_rule=input_rule).attribute(features, 1)
    assert found.shape == features.shape
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet18(num_classes=5),
    "mobilenet_v2": lambda: mobilenet_v2(num_classes=5),
    "vgg11": lambda: vgg11(num_classes=5),
    "densenet121": lambda: densenet121(num_classes=5),
    "swin": lambda: SwinTransformer([2, 2], 12, [1, 1], [2, 2], [4, 4], num_classes=5),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_all_relevance_passes_every_stage(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    images = torch.rand(2, 3, *size)
    found, sums = LRP(model).attribute(images, return_sums=True, at="all")
    sizes = [tuple(relevance.shape[2:]) for relevance in found.values()]
    assert next(iter(found)) == "input"
    assert len(sizes) >= 3
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes[1:])) == len(sizes) - 1
    for relevance in found.values():
        torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-5, atol=0)
        height, width = relevance.shape[2:]
        assert abs(height / width - size[0] / size[1]) < 0.5
    assert torch.equal(found["input"], LRP(model).attribute(images))


def test_names_of_a_resnet() -> None:
    torch.manual_seed(0)
    model, images = resnet18(num_classes=5).eval(), torch.rand(2, 3, 64, 64)
    lrp = LRP(model)
    found, sums = lrp.attribute(images, return_sums=True, at=["layer3", "layer1.0.conv1", "fc"])
    assert list(found) == ["layer3", "layer1.0.conv1", "fc"]
    assert found["layer3"].shape == (2, 256, 4, 4)
    assert found["fc"].shape == (2, 5)
    torch.testing.assert_close(found["layer3"].sum((1, 2, 3)), sums["output"])
    branch = found["layer1.0.conv1"].sum((1, 2, 3)) / sums["output"]  # the skip connection has the rest
    assert ((branch > 0) & (branch < 1)).all()
    assert torch.equal(found["layer3"], lrp.attribute(images, at="layer3"))
    torch.testing.assert_close(found["layer3"].sum((1, 2, 3)), sums["layer4.0"])


class Normalised(nn.Module):
    """Normalises the images itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.network((x - 0.5) / torch.tensor([0.2, 0.3, 0.4])[:, None, None])
        return scaled


def test_pixels_that_the_network_normalises_are_no_stage_of_their_own() -> None:
    torch.manual_seed(0)
    network, x = resnet18(num_classes=4).eval(), torch.rand(2, 3, 32, 32)
    scaled = (x - 0.5) / torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    found = LRP(Normalised(network)).attribute(x, 1, at="all")
    expected = LRP(network).attribute(scaled, 1, at="all")
    assert [name.removeprefix("network.") for name in found] == list(expected)
    for one, other in zip(found.values(), expected.values(), strict=True):
        assert torch.equal(one, other)


def test_a_module_without_relevance() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.head = nn.Linear(12, 12), nn.Linear(12, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            flat = images.flatten(1)
            return self.head(flat * self.gate(flat).sigmoid())

    with pytest.raises(InputError, match="at: no relevance passes module 'gate'"):
        LRP(Gated()).attribute(torch.rand(1, 3, 2, 2), at=["head", "gate"])


@pytest.mark.parametrize("at", ["layer9", ["layer3", "layer9"], "layer"])
def test_an_unknown_module(at: str | list[str]) -> None:
    with pytest.raises(InputError, match=r"at: no module .* called 'layer9?': the network has conv1, bn1, relu"):
        LRP(resnet18(num_classes=5)).attribute(torch.rand(1, 3, 64, 64), at=at)


def test_gamma_top_is_z_plus_below_and_gamma_above() -> None:
    torch.manual_seed(0)
    model, images = resnet18(num_classes=5).eval(), torch.rand(2, 3, 64, 64)
    layers = [name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    count = round(0.4 * len(layers))
    # Pooling before the classifier stands above, the one before layer1 passes relevance by its own option.
    by_name = dict.fromkeys(layers[:count], "z_plus") | {"*": "gamma"}
    expected = LRP(model, rule=by_name).attribute(images)
    torch.testing.assert_close(LRP(model, rule="gamma_top").attribute(images), expected)
