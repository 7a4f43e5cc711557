"""Explain a volume: drawn scans with vessels, some of which hold a small ball as well.

``python examples/explain_a_volume.py`` trains a three-dimensional network on them in seconds, prints which share of the
positive relevance lies on the ball, and draws slices of a volume that the network was not trained on.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.pictures import slices

SHAPE = (16, 24, 24)
RADIUS = 2.6
"""Of the ball, in voxels; vessels are as bright, longer and thinner."""


def scans(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw volumes (N, 1, D, H, W), whether each holds a ball (N,), and where that is (N, D, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*(torch.arange(size).float() for size in SHAPE), indexing="ij"), -1)

    def anywhere(margin: float) -> Tensor:
        return margin + (torch.tensor(SHAPE) - 1 - 2 * margin) * torch.rand(3, generator=generator)

    labels = torch.arange(count) % 2
    volumes, places = torch.zeros(count, 1, *SHAPE), torch.zeros(count, *SHAPE, dtype=torch.bool)
    for number in range(count):
        volume = 0.15 * torch.randn(SHAPE, generator=generator)
        for _ in range(3):
            direction = F.normalize(torch.randn(3, generator=generator), dim=0)
            away = grid - anywhere(0)
            along = (away * direction).sum(-1, keepdim=True) * direction
            volume += torch.exp(-0.5 * ((away - along).norm(dim=-1) / 0.9) ** 2)
        if labels[number]:
            distance = (grid - anywhere(4)).norm(dim=-1)
            volume += torch.sigmoid(3 * (RADIUS - distance))
            places[number] = distance <= RADIUS + 1.5
        volumes[number, 0] = volume.clamp(max=1.2)
    return volumes, labels, places


def trained(volumes: Tensor, labels: Tensor) -> nn.Module:
    """Train a network whose features look at every place; the strongest place of each decides, by one logit."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(12):
        for batch in torch.randperm(len(volumes)).split(10):
            loss = F.binary_cross_entropy_with_logits(network(volumes[batch])[:, 0], labels[batch].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def share_on_the_ball(relevance: Tensor, places: Tensor) -> Tensor:
    """Return which share of the positive relevance (N, 1, D, H, W) lies at ``places`` (N, D, H, W)."""
    positive = relevance[:, 0].clamp(min=0)
    return (positive * places).sum((1, 2, 3)) / positive.sum((1, 2, 3))


def main(picture: Path) -> None:
    """Train, explain, and draw."""
    network = trained(*scans(200, seed=0)[:2])
    volumes, labels, places = scans(100, seed=1)
    found = network(volumes)[:, 0] > 0
    print(f"accuracy on held-out volumes {float((found == labels).float().mean()):.2f}")
    balls = found & (labels == 1)
    relevance, sums = LRP(network).attribute(volumes[balls], target=1, return_sums=True)
    print(f"gap {float((relevance.sum((1, 2, 3, 4)) - sums['output']).abs().max()):.0e}")
    share = share_on_the_ball(relevance, places[balls])
    print(f"share of the positive relevance on the ball {float(share.mean()):.2f}")
    slices(volumes[balls][0, 0], relevance[0, 0]).savefig(picture, dpi=100)
    print(picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=Path("volume.png"))
    main(parser.parse_args().picture)
