"""Entries that an operation puts in as zeros receive no relevance; a default device of the user's changes nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP


class Unpooled(nn.Module):
    """The decoder of SegNet: maxima go back to where they were, zeros stand beside them."""

    def forward(self, x: Tensor) -> Tensor:
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(pooled, indices, 2)


class Triangle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.tril()


class Columns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.fold(F.unfold(x, 3, padding=2), (12, 12), 3)


class WrittenInto(nn.Module):
    """A buffer of zeros that a part of it is written into, read as a whole."""

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.zeros(len(x), x.shape[1] + 2, 8, 8)
        whole[:, 1:-1, ::2] = x[:, :, :4]
        return whole


@pytest.mark.parametrize("odd", [Unpooled(), Triangle(), Columns(), WrittenInto()], ids=lambda odd: type(odd).__name__)
@pytest.mark.parametrize("rule", ["z_plus", "flat", "ratio"])
def test_relevance_is_conserved_beside_zeros(odd: nn.Module, rule: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), odd, nn.LazyConv2d(5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    ).eval()
    images = torch.rand(2, 3, 8, 8)
    probability = network(images).softmax(1)[:, 1].detach()
    relevance = LRP(network, rule=rule).attribute(images, 1)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), probability, rtol=1e-5, atol=0)


def test_a_default_device_of_the_users_changes_nothing() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()
    images = torch.rand(3, 3, 8, 8)
    expected = LRP(network).attribute(images, 2)
    with torch.device("meta"):
        assert torch.equal(LRP(network).attribute(images, 2), expected)
