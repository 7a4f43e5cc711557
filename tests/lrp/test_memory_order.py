"""Networks that read memory by strides of their own answer by how the images lie there, and are explained so."""

import pytest
import torch
import torchvision
from plain_networks import alike, images, plain
from torch import Tensor, nn

from relsplit import LRP


class _Halves(nn.Module):
    """Takes the upper half of images (N, 3, 8, 8) by the strides that contiguous ones have."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.as_strided(x, (len(x), 3, 5, 8), (192, 64, 8, 1)))


def test_many_images_are_read_as_their_user_would_have_them_read() -> None:
    network, x = _Halves(), images(4, 8)
    lrp = LRP(network)
    relevance, sums = lrp.attribute(x, 1, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).softmax(1)[:, 1].detach())
    alike(relevance, torch.cat([lrp.attribute(one, 1) for one in x.split(1)]))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121", "swin_t", "convnext_tiny"])
def test_the_network_runs_once_a_call(name: str) -> None:
    """Also where it gets its images channels last, which only a network that reads memory by strides refuses."""
    torch.manual_seed(0)
    network, calls = torchvision.models.get_model(name, weights=None, num_classes=4).eval(), 0

    def count(_module: nn.Module, _args: object) -> None:
        nonlocal calls
        calls += 1

    network.register_forward_pre_hook(count)
    LRP(network).attribute(torch.rand(4, 3, 64, 64), 1)
    assert calls == 1
