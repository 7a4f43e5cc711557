"""Explain a one-dimensional signal: drawn heartbeats, some of which hold a small late wave.

``python examples/explain_a_signal.py`` trains a network on them in seconds, prints which share of the positive
relevance lies on the wave, and draws a beat that the network was not trained on, with its relevance below it.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.pictures import waveform

LENGTH, RATE = 256, 250
"""Samples of a beat, and samples per second."""
HALF_WIDTH = 12
"""Of the late wave, in samples."""


def beats(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw beats (N, 1, L), whether each has a late wave (N,), and where that is (N, L)."""
    generator, time = torch.Generator().manual_seed(seed), torch.arange(LENGTH).float()

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((), generator=generator)

    def wave(centre: Tensor, width: float, height: Tensor) -> Tensor:
        return height * torch.exp(-0.5 * ((time - centre) / width) ** 2)

    labels = torch.arange(count) % 2
    signals, places = torch.zeros(count, 1, LENGTH), torch.zeros(count, LENGTH, dtype=torch.bool)
    for beat in range(count):
        peak = between(90, 120)
        signal = wave(peak - 35, 6, between(0.15, 0.25)) + wave(peak - 4, 2, between(-0.2, -0.1))
        signal += wave(peak, 2.5, between(0.9, 1.2)) + wave(peak + 5, 2, between(-0.3, -0.2))
        signal += wave(peak + 60, 10, between(0.25, 0.35))
        if labels[beat]:
            late, height = peak + between(20, 120), between(0.25, 0.4)
            signal += wave(late - 3, 2, height) - wave(late + 3, 2, height)
            places[beat] = (time - late).abs() <= HALF_WIDTH
        signals[beat, 0] = signal + 0.02 * torch.randn(LENGTH, generator=generator)
    return signals, labels, places


def trained(signals: Tensor, labels: Tensor) -> nn.Module:
    """Train a network whose features look at every moment; the strongest moment of each decides, by one logit."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 16, 9, padding=4), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(40):
        for batch in torch.randperm(len(signals)).split(40):
            loss = F.binary_cross_entropy_with_logits(network(signals[batch])[:, 0], labels[batch].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def share_on_the_wave(relevance: Tensor, places: Tensor) -> Tensor:
    """Return which share of the positive relevance (N, 1, L) lies at ``places`` (N, L), for each beat."""
    positive = relevance[:, 0].clamp(min=0)
    return (positive * places).sum(1) / positive.sum(1)


def main(picture: Path) -> None:
    """Train, explain, and draw."""
    network = trained(*beats(400, seed=0)[:2])
    signals, labels, places = beats(200, seed=1)
    found = network(signals)[:, 0] > 0
    print(f"accuracy on held-out beats {float((found == labels).float().mean()):.2f}")
    late = found & (labels == 1)
    relevance, sums = LRP(network).attribute(signals[late], target=1, return_sums=True)
    print(f"gap {float((relevance.sum((1, 2)) - sums['output']).abs().max()):.0e}")
    print(f"share of the positive relevance on the wave {float(share_on_the_wave(relevance, places[late]).mean()):.2f}")
    waveform(signals[late][0], relevance[0], rate=RATE).savefig(picture, dpi=100)
    print(picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=Path("signal.png"))
    main(parser.parse_args().picture)
