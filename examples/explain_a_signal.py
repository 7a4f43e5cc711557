"""Explain a one-dimensional signal: drawn heartbeats, some of which hold a small late wave.

``python examples/explain_a_signal.py`` trains a network on them in seconds, prints which share of the positive
relevance lies on the wave, and draws one beat with its relevance below it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP

LENGTH = 256
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
    """Train a network that looks at every moment; the one that looks most like a late wave decides, by one logit."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 1, 1),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(),
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


def drawn(values: Tensor, rows: int = 8, columns: int = 96) -> list[str]:
    """Return a curve (L,) as lines of text."""
    values = F.adaptive_max_pool1d(values[None, None], columns)[0, 0]
    levels = ((values - values.min()) / (values.max() - values.min()) * (rows - 1)).round().int()
    return ["".join("#" if level == row else " " for level in levels) for row in reversed(range(rows))]


def main() -> None:
    """Train, explain, and draw."""
    network = trained(*beats(400, seed=0)[:2])
    signals, labels, places = beats(100, seed=1)
    found = network(signals)[:, 0] > 0
    print(f"accuracy {float((found == labels).float().mean()):.2f}")
    late = found & (labels == 1)
    explainer = LRP(network, input_rule="activation", max_pool="winner")
    relevance, sums = explainer.attribute(signals[late], target=1, return_sums=True)
    gap = (relevance.sum((1, 2)) - sums["output"]).abs().max()
    print(f"gap {float(gap):.0e}")
    print(f"share of the positive relevance on the wave {float(share_on_the_wave(relevance, places[late]).mean()):.2f}")
    print(*drawn(signals[late][0, 0]), *drawn(relevance[0, 0], rows=4), sep="\n")


if __name__ == "__main__":
    main()
