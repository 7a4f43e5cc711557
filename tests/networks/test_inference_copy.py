"""The copy that reads masked images computes what the network computes, in fp32 and rounded."""

import gc
import weakref
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.fx.graph_module import _loader

from relsplit.metrics import score_curves
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
from relsplit.networks.inference_copy import inference_copy


def resnet(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return settled(torchvision.models.resnet18(num_classes=12, **options))


def mobilenet() -> nn.Module:
    torch.manual_seed(0)
    return settled(torchvision.models.mobilenet_v2(num_classes=12, width_mult=0.25))


def settled(network: nn.Module) -> nn.Module:
    """In eval mode with statistics of noise, so that no activation dies or explodes."""
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(8, 3, 64, 64))
    return network.eval()


def images(count: int = 5) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


class Additions(nn.Module):
    """Every way to add to a convolution's output; some are not to be merged with it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, groups=groups) for groups in (1, 1, 1, 1, 1, 4, 1))
        self.first, self.shrink = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, stride=2, dilation=2)
        self.last = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.convs[0](x))
        y = self.convs[1](x)
        y += x
        x = x.add(self.convs[2](y)).relu()
        x = self.convs[3](x) + x.mean(dim=(2, 3), keepdim=True)  # spread over the image
        z = self.convs[4](x)
        x = torch.relu(z + z) + z  # read twice
        x = nn.functional.relu6(self.convs[5](x) + x)
        before = self.convs[6](x)
        x *= -0.5  # what the convolution has read by then
        x = before + x
        x = nn.functional.relu(self.shrink(x) + 0.5)
        return self.last(x.mean(dim=(2, 3)))


@pytest.mark.parametrize("make", [resnet, mobilenet, Additions])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_copy_in_full_precision_is_the_network(make: Any, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    network = make().eval().to(kind)
    copy = inference_copy(network)
    with torch.inference_mode():
        for count in (5, 2, 5):  # shapes change from pass to pass
            expected, found = network(images(count).to(kind)), copy(images(count).to(kind))
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()) + 1e-6)


@pytest.mark.parametrize("make", [resnet, mobilenet, Additions])
def test_a_copy_in_half_precision_is_near_the_network(make: Any) -> None:
    torch.manual_seed(0)
    network = make().eval()
    copy = inference_copy(network, "bf16")
    with torch.inference_mode():
        expected, found = network(images()), copy(images())
        assert found.dtype == torch.float32
        assert float((found - expected).abs().max()) < 0.03 * float(expected.abs().max())
        rounded = copy(images().bfloat16())
        assert rounded.dtype == torch.bfloat16
        assert torch.equal(rounded.float(), found)  # the copy rounds its input


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_not_a_number_stays_so(precision: Any) -> None:
    network = resnet()
    with torch.no_grad():
        network.get_parameter("layer2.0.conv1.weight")[3] = float("nan")
        assert inference_copy(network, precision)(images()).isnan().any()


@pytest.mark.parametrize("make", [resnet, mobilenet])
def test_scores_in_half_precision_are_near_those_in_full(make: Any) -> None:
    network, pictures = make(), images(3)
    with torch.no_grad():
        targets = network(pictures).argmax(1)
    maps = pictures.abs().sum(1)
    half, whole = (
        score_curves(inference_copy(network, name), pictures, maps, targets, {"": Strict(step=256)})[""]
        for name in ("bf16", "fp32")
    )
    assert (half.id_score - whole.id_score).abs().max() < 0.01
    assert (half.insertion - whole.insertion).abs().max() < 0.01


class ByType(nn.Module):
    """Takes another way where it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = resnet()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * 2 if isinstance(x, Tensor) else x)


def hooked() -> nn.Module:
    network = resnet()
    network.get_submodule("layer1.0.conv1").register_forward_hook(lambda module, args, output: output * 3)
    return network


def method_replaced() -> nn.Module:
    network = resnet()
    conv = network.get_submodule("layer1.0.conv1")
    before = conv.forward
    conv.forward = lambda x: before(x) * 3  # type: ignore[method-assign]
    return network


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [ByType, hooked, method_replaced])
def test_a_network_that_is_not_what_its_trace_says_stays_as_it_is(make: Any, precision: Any) -> None:
    network = make().eval()
    with torch.no_grad():
        expected = network(images())
        found = inference_copy(network, precision, (images(), expected))(images())
    tolerance = 1e-5 if precision == "fp32" else 0.03
    assert float((found - expected).abs().max()) < tolerance * float(expected.abs().max())


def test_a_copy_is_gone_when_nobody_holds_it() -> None:
    network = resnet()
    sources = len(_loader.eval_cache)
    gc.collect()
    gc.disable()
    try:
        copy = inference_copy(network)
        shared = {parameter.data_ptr() for parameter in network.parameters()}
        weights = [weakref.ref(weight) for weight in copy.parameters() if weight.data_ptr() not in shared]
        assert weights
        with torch.no_grad():
            copy(images())
        del copy
        assert not any(weight() is not None for weight in weights)
    finally:
        gc.enable()
    assert len(_loader.eval_cache) == sources
