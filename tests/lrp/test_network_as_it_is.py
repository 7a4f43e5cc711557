"""The map is of the network as it is in each call, and nobody's memory is written over."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from relsplit import LRP


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics, scales (some negative) and shifts as after a training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.2, generator=generator)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                module.weight.data.uniform_(-0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.2, generator=generator)
    return network.eval()


class EveryWayOfReading(nn.Module):
    """Values that are read once, twice, before and after an activation; normalisations with and without partners."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=True), nn.BatchNorm2d(8), nn.ReLU())
        self.twice = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.plain = nn.BatchNorm2d(8, affine=False)
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.BatchNorm2d(8))
        self.after = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 8, 3, stride=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        raw = self.twice(x)  # read by an activation and by an addition
        x = torch.relu(raw) + self.branch(x) + raw
        both = self.plain(x)
        x = torch.relu(self.after(x)) + both.relu() + both
        x = torch.relu(self.last(x))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    named = [torchvision.models.get_model(name, weights=None) for name in ("resnet18", "mobilenet_v2", "densenet121")]
    return [randomised(network) for network in (*named, EveryWayOfReading())]


@pytest.mark.parametrize("network", networks(), ids=lambda network: type(network).__name__)
def test_many_images_are_explained_as_few_are(network: nn.Module) -> None:
    """From three images on the network gets them channels last in memory."""
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    maps, sums = LRP(network).attribute(images, return_sums=True)
    few = torch.cat([LRP(network).attribute(pair) for pair in images.split(2)])
    assert (maps - few).abs().max() <= 2e-6 * few.abs().max()
    torch.testing.assert_close(LRP(network).attribute(images), maps, rtol=0, atol=0)  # unobserved: in place
    probability = network(images).softmax(1).amax(1)
    torch.testing.assert_close(sums["output"], probability, rtol=1e-5, atol=0)
    torch.testing.assert_close(sums["input"], probability, rtol=1e-5, atol=0)
    assert torch.equal(images, before)


CHANGES = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("through_data", [False, True])
def test_a_tensor_changed_in_place_is_seen(name: str, through_data: bool) -> None:
    torch.manual_seed(0)
    network = randomised(
        nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
        )
    )
    images = torch.randn(3, 3, 8, 8)
    lrp = LRP(network)
    before = lrp.attribute(images)
    tensor = network.state_dict()[name]
    if through_data:
        tensor.data.mul_(1.5)
    else:
        with torch.no_grad():
            tensor.mul_(1.5)
    after = lrp.attribute(images)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, LRP(network).attribute(images), rtol=0, atol=0)
    torch.testing.assert_close(after.flatten(1).sum(1), network(images).softmax(1).amax(1))


def test_an_exchanged_parameter_is_seen() -> None:
    network = randomised(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    )
    images = torch.randn(3, 3, 8, 8)
    lrp = LRP(network)
    lrp.attribute(images)
    network[0].weight = nn.Parameter(torch.randn_like(network[0].weight))
    torch.testing.assert_close(lrp.attribute(images), LRP(network).attribute(images), rtol=0, atol=0)


def test_what_a_users_rule_and_splitting_keep_is_not_written_over() -> None:
    """Whatever they return may be theirs."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.branch(x)

    class Half:
        conserves = True
        kept = torch.full((4, 4, 8, 8), 0.25)

        def share(self, skip: Tensor, branch: Tensor) -> Tensor:
            return self.kept

    returned: list[Tensor] = []

    def leaf(function: object, h: Tensor, relevance: Tensor) -> Tensor:
        returned.append(relevance * 1)
        return returned[-1]

    class Kept(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(1).values  # nothing that could be traced to a rule

    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), Kept(), Block(), Block(), nn.Flatten(), nn.Linear(256, 3)
    )
    images = torch.randn(4, 3, 8, 8)
    lrp = LRP(network.eval(), split=Half(), leaves={Kept: leaf})
    first = lrp.attribute(images)
    assert bool((Half.kept == 0.25).all())
    assert torch.equal(first, lrp.attribute(images))
    assert len({float(tensor.sum()) for tensor in returned}) == 1


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.BatchNorm2d, nn.ReLU])
def test_a_users_rule_sees_the_function_and_the_input_of_its_own_module(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(192, 3)]
    network = randomised(nn.Sequential(*layers))
    images = torch.randn(4, 3, 8, 8)
    inputs = {nn.Conv2d: images, nn.BatchNorm2d: network[0](images), nn.ReLU: network[1](network[0](images))}
    seen = []

    def leaf(function: Callable[[Tensor], Tensor], h: Tensor, relevance: Tensor) -> Tensor:
        seen.append((h.clone(), function(h.clone())))
        return relevance

    LRP(network, leaves={kind: leaf}).attribute(images)
    module = next(module for module in network if type(module) is kind)
    torch.testing.assert_close(seen[0][0], inputs[kind])
    torch.testing.assert_close(seen[0][1], module(inputs[kind]))
