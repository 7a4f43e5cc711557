"""Explain two inputs at once: a picture and a table, either of which may be the reason.

``python examples/explain_two_inputs.py`` trains a network in seconds that raises an alarm when the picture shows a
cross, or when the third of five measurements is high. It prints which share of the positive relevance lies on the
reason, and draws an alarm of each kind.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from relsplit import LRP
from relsplit.pictures import light_overlay

SIZE, MEASUREMENTS, REASON = 24, 5, 2
CROSS = torch.eye(7).maximum(torch.eye(7).flip(0))


def cases(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw pictures (N, 1, H, W) and tables (N, 5), both in [0, 1], and where the reasons lie in each, booleans.

    Half of the cases have no reason, a quarter a cross, a quarter a high measurement. Every picture has a ring, which
    is none.
    """
    generator = torch.Generator().manual_seed(seed)
    near = torch.arange(7) - 3.0
    ring = ((near[:, None] ** 2 + near**2).sqrt() - 2.6).abs() < 0.6
    images = 0.15 * torch.rand(count, 1, SIZE, SIZE, generator=generator)
    tables = torch.rand(count, MEASUREMENTS, generator=generator)
    tables[:, REASON] *= 0.5
    crosses, high = torch.zeros(count, SIZE, SIZE, dtype=torch.bool), torch.zeros(count, MEASUREMENTS, dtype=torch.bool)
    for case in range(count):
        places = torch.randint(1, SIZE - 8, (2, 2), generator=generator).tolist()
        (row, column), (top, left) = places
        images[case, 0, row : row + 7, column : column + 7] += 0.8 * ring
        if case % 4 == 1:
            images[case, 0, top : top + 7, left : left + 7] = 0.9 * CROSS
            crosses[case, top - 1 : top + 8, left - 1 : left + 8] = True
        if case % 4 == 3:
            tables[case, REASON] = 0.8 + 0.2 * torch.rand((), generator=generator)
            high[case, REASON] = True
    return images.clamp(0, 1), tables, crosses, high


class Alarm(nn.Module):
    """Looks for signs in the picture and in the table, and adds them up to one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.table = nn.Sequential(nn.Linear(MEASUREMENTS, 16), nn.ReLU())
        self.head = nn.Linear(32, 1)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        """Return logits (N, 1)."""
        logits: Tensor = self.head(torch.cat([self.picture(image), self.table(table)], 1))
        return logits


def trained(images: Tensor, tables: Tensor, alarms: Tensor) -> nn.Module:
    """Train a network."""
    torch.manual_seed(0)
    network = Alarm()
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3, weight_decay=0.1)
    for _ in range(30):
        for batch in torch.randperm(len(images)).split(40):
            loss = F.binary_cross_entropy_with_logits(
                network(images[batch], tables[batch])[:, 0], alarms[batch].float()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def main(picture: Path) -> None:
    """Train, explain, and draw."""
    images, tables, crosses, high = cases(800, seed=0)
    network = trained(images, tables, crosses.any((1, 2)) | high.any(1))
    images, tables, crosses, high = cases(200, seed=1)
    alarms = crosses.any((1, 2)) | high.any(1)
    found = network(images, tables)[:, 0] > 0
    print(f"accuracy on held-out cases {float((found == alarms).float().mean()):.2f}")
    right = found & alarms
    images, tables, crosses, high = images[right], tables[right], crosses[right], high[right]
    # In a table a value of 0 says nothing: z+ with the values, in place of the default that weighs all pixels alike.
    explainer = LRP(network, input_rule="activation")
    (of_image, of_table), sums = explainer.attribute((images, tables), target=1, return_sums=True)
    gap = (of_image.sum((1, 2, 3)) + of_table.sum(1)) / sums["output"] - 1
    print(f"gap {float(gap.abs().max()):.0e}")
    positive, measured = of_image[:, 0].clamp(min=0), of_table.clamp(min=0)
    whole = positive.sum((1, 2)) + measured.sum(1)
    by_cross = crosses.any((1, 2))
    on_cross = ((positive * crosses).sum((1, 2)) / whole)[by_cross].mean()
    on_measurement = ((measured * high).sum(1) / whole)[~by_cross].mean()
    print(f"share of the positive relevance on the cross {float(on_cross):.2f}")
    print(f"share of the positive relevance on the high measurement {float(on_measurement):.2f}")
    figure = Figure(figsize=(6.5, 4.6), layout="constrained")
    rows = zip(figure.subplots(2, 2), (by_cross, ~by_cross), ("a cross", "a high measurement"), strict=True)
    for (left, right_axes), kind, why in rows:
        case = int(kind.nonzero()[0, 0])
        grey = (255 * images[case, 0]).byte().numpy()[..., None].repeat(3, axis=2)
        together = float(of_image[case].sum()), float(of_table[case].sum())
        # Both inputs on one scale: the share of the picture decides how strong its map is.
        left.imshow(grey / 255 * (1 - together[0]) + light_overlay(grey, of_image[case, 0].numpy()) * together[0])
        left.set_title(f"{why}: picture {together[0]:+.2f}", fontsize=9)
        left.set_axis_off()
        right_axes.barh(range(MEASUREMENTS), of_table[case].tolist(), color="#c1121f")
        names = [f"measurement {number + 1}: {value:.2f}" for number, value in enumerate(tables[case].tolist())]
        right_axes.set_yticks(range(MEASUREMENTS), names, fontsize=8)
        right_axes.invert_yaxis()
        right_axes.set_xlim(0, 1)
        right_axes.set_title(f"{why}: table {together[1]:+.2f}", fontsize=9)
        right_axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=100)
    print(picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=Path("two_inputs.png"))
    main(parser.parse_args().picture)
