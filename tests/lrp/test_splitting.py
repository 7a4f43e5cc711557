"""Relevance splitting against a residual block derived by hand."""

import pytest
import torch
from dense_oracle import propagate
from residual_networks import images, randomised, small_resnet
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from relsplit.lrp import LRP


class OneBlock(nn.Module):
    """A stem that makes non-negative features, one Bottleneck, a head."""

    def __init__(self, projection: bool) -> None:
        super().__init__()
        self.rectify = nn.ReLU()
        channels = 4 if projection else 8
        downsample = nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8)) if projection else None
        self.block = Bottleneck(channels, 2, downsample=downsample)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.rectify(x)).mean((2, 3)))


@pytest.mark.parametrize("include_identity", [True, False])
@pytest.mark.parametrize("split", ["ratio", "symmetric"])
@pytest.mark.parametrize("projection", [True, False], ids=["projection", "identity"])
def test_bottleneck_equals_derivation_by_hand(projection: bool, split: str, include_identity: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = randomised(OneBlock(projection)).double()
        x = torch.randn(2, 4 if projection else 8, 5, 5, dtype=torch.float64)
    block = model.block
    with torch.no_grad():
        h = model.rectify(x)
        first = block.conv1(h)
        a = block.bn1(first).relu()
        b = block.bn2(block.conv2(a)).relu()
        h_m = block.bn3(block.conv3(b))
        h_s = block.downsample(h) if projection else h
        out = (h_m + h_s).relu()
        p = model(x).softmax(1)[:, 2]

        start = torch.zeros(2, 3, dtype=torch.float64)
        start[:, 2] = p
        pooled = out.mean((2, 3))
        r = propagate(lambda v: nn.functional.linear(v, model.head.weight), pooled, start, "z_plus")
        r = propagate(lambda v: v.mean((2, 3)), out, r, "z_plus")
        if split == "ratio":
            share = torch.where(h_s.abs() + h_m.abs() == 0, 0.5, h_s.abs() / (h_s.abs() + h_m.abs()))
        else:
            share = torch.full_like(h_s, 0.5)
        if not include_identity and not projection:
            share = torch.zeros_like(h_s)
        r_m = propagate(block.conv3, b, (1 - share) * r, "z_plus")
        r_m = propagate(block.conv2, a, r_m, "z_plus")
        r_m = propagate(block.conv1, h, r_m, "z_plus")
        r_s = propagate(block.downsample[0], h, share * r, "z_plus") if projection else share * r
    found = LRP(model, split, include_identity, input_rule="activation").attribute(x, target=2)
    assert torch.allclose(found, r_m + r_s, rtol=1e-8, atol=1e-15)


def test_splitting_of_the_users_own() -> None:
    class ToTheBranch:
        conserves = True

        def share(self, skip: Tensor, branch: Tensor) -> float:
            return 0.0

    model, x = small_resnet(), images()
    everything = LRP(model, split=ToTheBranch()).attribute(x)
    assert torch.allclose(everything.flatten(1).sum(1), model(x).softmax(1).amax(1).detach(), rtol=1e-5)
    assert not torch.allclose(everything, LRP(model).attribute(x))


def test_a_share_that_its_splitting_keeps_is_not_written_over() -> None:
    class Kept:
        conserves = True

        def __init__(self) -> None:
            self.shares: list[Tensor] = []

        def share(self, skip: Tensor, branch: Tensor) -> Tensor:
            self.shares.append(torch.full_like(skip, 0.25))
            return self.shares[-1]

    splitting = Kept()
    LRP(small_resnet(), splitting).attribute(images())
    assert splitting.shares
    assert all(bool((share == 0.25).all()) for share in splitting.shares)


def test_unit_where_both_branches_are_zero_is_split_evenly() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.flatten(nn.functional.relu(x) + nn.functional.relu(-x) * 0, 1))

    model = Doubled()
    x = torch.zeros(1, 1, 2, 2)
    relevance = LRP(model, start="one", input_rule="activation").attribute(x, target=0)
    assert torch.isfinite(relevance).all()
    assert float(relevance.sum()) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("split", ["ratio", "symmetric", "proportional", "gamma"])
def test_summands_of_different_shapes(split: str) -> None:
    """As in a global context block: the branch is one number per channel."""

    class Context(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x).relu()
            return self.head((h + self.branch(h.mean((2, 3), keepdim=True))).mean((2, 3)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Context().double()
    relevance, sums = LRP(model, split).attribute(images(2, 9).double(), return_sums=True)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-8, atol=0)
