"""Small networks in float64, and what it takes to explain the network that answers.

Each test has a *twin*: another network, built anew, in which what the first one does by a hook, an attribute or a
computed weight is written out as plain layers. Both must get the same map, and the map must start from the probability
that the first one really answers with.
"""

import torch
from torch import Tensor, nn

from relsplit import LRP


def plain(seed: int = 0, classes: int = 4) -> nn.Sequential:
    """Two convolutions and a classifier whose probabilities are far from equal, seeded, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 12, 3, bias=False), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, classes),
        ).double()  # fmt: skip
    with torch.no_grad():
        network[6].weight.mul_(10)
    return network.eval()


def images(count: int = 2, size: int = 9, seed: int = 1) -> Tensor:
    """Pixels (count, 3, size, size) in [0, 1], float64."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Normalise(nn.Module):
    """Pixels to the numbers that a network was trained on."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.45) / 0.2


class Times(nn.Module):
    """A constant factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def answered(network: nn.Module, x: Tensor, target: int) -> Tensor:
    """The probability (N,) that the network itself answers with, in whatever gradient mode the caller is."""
    return network(x).softmax(1)[:, target].detach()


def assert_explains_what_answers(lrp: LRP, network: nn.Module, twin: nn.Module, target: int = 1) -> None:
    """Check that the map of ``network`` starts from what it answers, sums to it, and is the map of its twin."""
    x = images()
    expected = answered(network, x, target)
    torch.testing.assert_close(answered(twin, x, target), expected)  # the twin is one
    relevance, sums = lrp.attribute(x, target, return_sums=True)
    torch.testing.assert_close(sums["output"], expected)
    torch.testing.assert_close(relevance.flatten(1).sum(1), expected, rtol=1e-6, atol=0)
    alike(relevance, LRP(twin).attribute(x, target))


def alike(relevance: Tensor, expected: Tensor, tolerance: float = 1e-7) -> None:
    """Check two maps entry by entry, relative to the greatest entry."""
    torch.testing.assert_close(relevance, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
