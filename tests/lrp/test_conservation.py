"""Per image, the relevance at the input and at every block input is the probability of the explained class."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_networks import built, images, small_resnet
from torch import Tensor, nn

from relsplit.lrp import LRP, Epsilon

ARCHITECTURES = {
    "resnet18": 65,
    "resnet50": 65,
    "resnext50_32x4d": 33,
    "regnet_y_400mf": 65,
    "vgg11_bn": 33,
    "mobilenet_v2": 65,
    "mobilenet_v3_small": 65,
    "densenet121": 33,
    "efficientnet_b0": 65,
    "convnext_tiny": 33,
    "shufflenet_v2_x0_5": 65,
    "mnasnet0_5": 65,
    "squeezenet1_1": 65,
}


def gap(sums: dict[str, Tensor], images_relevance: Tensor) -> float:
    """Largest relative difference to the start, over images and places."""
    p = sums["output"].double()
    places = [*sums.values(), images_relevance.double().flatten(1).sum(1)]
    return max(float(((place.double() - p) / p).abs().max()) for place in places)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_conserve_in_float32(name: str) -> None:
    relevance, sums = LRP(built(name)).attribute(images(2, ARCHITECTURES[name]), return_sums=True)
    assert gap(sums, relevance) <= 1e-5


@settings(max_examples=12, deadline=None)
@given(
    size=st.integers(17, 70),
    seed=st.integers(0, 1000),
    split=st.sampled_from(["ratio", "symmetric"]),
    include_identity=st.booleans(),
    max_pool=st.sampled_from(["average", "winner"]),
    input_rule=st.sampled_from(["ones", "activation", "flat"]),
    rule=st.sampled_from(["z_plus", "gamma", "alpha2_beta1"]),
)
def test_every_conserving_option_conserves_at_any_size(
    size: int, seed: int, split: str, include_identity: bool, max_pool: str, input_rule: str, rule: str
) -> None:
    model = small_resnet().double()
    lrp = LRP(model, split, include_identity, rule=rule, input_rule=input_rule, max_pool=max_pool)
    relevance, sums = lrp.attribute(images(1, size, seed).double(), return_sums=True)
    assert gap(sums, relevance) <= 1e-7


def test_sums_are_named_after_the_blocks() -> None:
    _, sums = LRP(small_resnet()).attribute(images(), return_sums=True)
    assert list(sums) == ["input", "layer1.0", "layer1.1", "layer2.0", "layer3.0", "layer4.0", "layer4.1", "output"]
    assert all(values.shape == (2,) for values in sums.values())


@pytest.mark.parametrize("start", ["probability", "logit", "one"])
def test_starts(start: str) -> None:
    model, x = small_resnet(), images()
    logits = model(x).detach()
    expected = {"probability": logits.softmax(1), "logit": logits, "one": torch.ones_like(logits)}[start][:, 4]
    relevance = LRP(model, start=start).attribute(x, target=4)
    assert torch.allclose(relevance.flatten(1).sum(1), expected, rtol=1e-4, atol=1e-6)


def test_what_cannot_conserve_reports_its_gap() -> None:
    """The epsilon rule gives the biases their share; the sums say so."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 31 * 31, 10))
    relevance, sums = LRP(model, rule="epsilon", input_rule=Epsilon()).attribute(images(), return_sums=True)
    assert torch.allclose(sums["input"], relevance.flatten(1).sum(1), rtol=1e-4, atol=1e-7)
    assert gap(sums, relevance) > 1e-3


def test_negative_inputs_of_a_linear_bottleneck_conserve() -> None:
    """As in MobileNetV2: features at the addition have both signs, depthwise units often see nothing positive."""

    class Inverted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expand = nn.Conv2d(3, 12, 1)
            self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
            self.project = nn.Conv2d(12, 3, 1)
            self.head = nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                inner = nn.functional.relu6(self.expand(x))
                x = x + self.project(nn.functional.relu6(self.depthwise(inner)))
            return self.head(x.mean((2, 3)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Inverted()
    with torch.no_grad():
        model.depthwise.weight.sub_(0.4)
        model.depthwise.bias.add_(3.0)
    relevance, sums = LRP(model).attribute(images(4), return_sums=True)
    assert gap(sums, relevance) <= 1e-5
    lossy = LRP(model, stabilizer=1e-5).attribute(images(4))
    assert float((1 - lossy.flatten(1).sum(1) / sums["output"]).max()) > 0.05


def test_channel_permutation_and_batch_independence() -> None:
    model, x = small_resnet().double(), images(5).double()
    together = LRP(model).attribute(x)
    apart = torch.cat([LRP(model).attribute(image[None]) for image in x])
    assert torch.allclose(together, apart, rtol=1e-9, atol=1e-14)
    block = model.layer2[0]
    order = torch.randperm(block.conv1.out_channels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for tensor in (block.conv1.weight, *block.bn1.state_dict().values()):
            if tensor.dim():
                tensor.copy_(tensor[order].clone())
        block.conv2.weight.copy_(block.conv2.weight[:, order].clone())
    assert torch.allclose(LRP(model).attribute(x), together, rtol=1e-7, atol=1e-13)
