"""Explain a detection: which pixels give a box that a detector found its score.

``python examples/explain_a_detection.py`` trains a small detector on drawn scenes of one or two birds in seconds,
prints which share of the positive relevance lies in the explained box, and draws all boxes, and the map of one. With a
detector of torchvision's the lines that explain are the same.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bird_scenes import pixels, scenes
from relsplit import LRP
from relsplit.pictures import boxes
from relsplit.targets import Detection

SIZE, CELL = 96, 8
"""Of a scene, and of the cells that may each hold the centre of one bird, in pixels."""
CENTRES = (torch.arange(SIZE // CELL) + 0.5) * CELL


class Detector(nn.Module):
    """Of every cell: is it the centre of a bird, and how far away are the bird's four sides."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        widths, layers = (3, width, 2 * width, 2 * width, 2 * width), []
        for number, (channels, wider) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number < 3 else []
        self.features = nn.Sequential(*layers)
        self.centre, self.sides = nn.Conv2d(2 * width, 1, 1), nn.Conv2d(2 * width, 4, 1)

    def cells(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, h, w), and distances to left, top, right and bottom (N, 4, h, w), of every cell."""
        features = self.features(images)
        return self.centre(features)[:, 0], F.softplus(self.sides(features)) * CELL

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return "boxes" (K, 4) and "scores" (K,) of each image, the highest score first, as torchvision does."""
        logits, sides = self.cells(images)
        peaks = logits == F.max_pool2d(logits, 3, stride=1, padding=1)
        down, across = torch.meshgrid(CENTRES, CENTRES, indexing="ij")
        corners = torch.stack(
            [across - sides[:, 0], down - sides[:, 1], across + sides[:, 2], down + sides[:, 3]], 1
        ).flatten(2)
        found = []
        for scores, peak, corner in zip(logits.sigmoid().flatten(1), peaks.flatten(1), corners, strict=True):
            best = (scores * peak).topk(3).indices
            best = best[scores[best] > 0.3]
            found.append({"boxes": corner.T[best], "scores": scores[best]})
        return found


def corners(mask: Tensor) -> Tensor:
    """Return the box (4,) around a mask (H, W): left, top, right, bottom."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()


def trained(images: Tensor, masks: Tensor) -> nn.Module:
    """Train a detector on masks (N, birds, H, W), booleans; a bird that is not there has none."""
    count, cells = len(images), SIZE // CELL
    is_centre, sides = torch.zeros(count, cells, cells), torch.zeros(count, 4, cells, cells)
    for number, bird in masks.any((2, 3)).nonzero().tolist():
        left, top, right, bottom = corners(masks[number, bird])
        row, column = int((top + bottom) / 2 / CELL), int((left + right) / 2 / CELL)
        x, y = CENTRES[column], CENTRES[row]
        is_centre[number, row, column] = 1
        sides[number, :, row, column] = torch.stack([x - left, y - top, right - x, bottom - y])
    torch.manual_seed(0)
    network, epochs, size = Detector(), 6, 8
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * -(-count // size))
    for _ in range(epochs):
        for batch in torch.randperm(count).split(size):
            logits, distances = network.cells(images[batch])
            centres = is_centre[batch]
            off = ((distances - sides[batch]).abs().sum(1) * centres).sum() / centres.sum()
            scored = F.binary_cross_entropy_with_logits(logits, centres, pos_weight=torch.tensor(10.0))
            optimiser.zero_grad()
            (scored + off / 32).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def overlap(one: Tensor, other: Tensor) -> float:
    """Return the intersection over union of two boxes (4,)."""
    shared = (torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])).clamp(min=0).prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def share_in_the_box(relevance: Tensor, box: Tensor) -> float:
    """Return which share of the positive relevance (3, H, W) lies in a box (4,)."""
    positive = relevance.sum(0).clamp(min=0)
    left, top, right, bottom = box.round().int().clamp(0, SIZE).tolist()
    return float(positive[top:bottom, left:right].sum() / positive.sum())


def main(picture: Path) -> None:
    """Train, explain, and draw."""
    network = trained(*scenes(240, seed=0, size=SIZE, most=2))
    images, masks = scenes(40, seed=1, size=SIZE, most=2)
    with torch.no_grad():
        found = network(images)
    birds = [
        (number, corners(mask[bird])) for number, mask in enumerate(masks) for bird in mask.any((1, 2)).nonzero()[:, 0]
    ]
    hit = [any(overlap(bird, box) > 0.5 for box in found[number]["boxes"]) for number, bird in birds]
    print(f"held-out birds found {sum(hit) / len(hit):.2f}")
    seen = [number for number in range(len(images)) if len(found[number]["scores"])]
    relevance, sums = LRP(network).attribute(images[seen], Detection(0), return_sums=True)
    print(f"gap {float((relevance.sum((1, 2, 3)) / sums['output'] - 1).abs().max()):.0e}")
    shares = [share_in_the_box(each, found[number]["boxes"][0]) for number, each in zip(seen, relevance, strict=True)]
    print(f"share of the positive relevance in the explained box {sum(shares) / len(shares):.2f}")
    two = next(place for place, number in enumerate(seen) if len(found[number]["scores"]) == 2)
    shown = found[seen[two]]
    labels = [f"bird {float(score):.2f}" for score in shown["scores"]]
    boxes(pixels(images[seen[two]]), relevance[two].sum(0), shown["boxes"], labels=labels).savefig(picture, dpi=100)
    print(picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=Path("detection.png"))
    main(parser.parse_args().picture)
