"""Explain what is no class score: one class against another, a regression, an embedding, a class's pixels, a box.

``python examples/explain_any_output.py`` runs on small random networks; every line shows what is explained, and the sum
of its map.
"""

import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.targets import Detection, Likeness, Pixels, Value

SCORES = 5


def encoder(*head: nn.Module) -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), *head
    ).eval()


def one_against_another(scores: Tensor) -> Tensor:
    """As ``start``: from class scores (N, classes) to their relevance, of the same shape."""
    start, probability = torch.zeros_like(scores), scores.softmax(1)
    start[:, 1], start[:, 3] = probability[:, 1], -probability[:, 3]
    return start


class Detector(nn.Module):
    """Stands for a detector of torchvision's: boxes with scores, a dictionary for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = encoder(nn.Conv2d(8, 1, 1))

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return the best of all places as boxes."""
        scores = self.network(images).sigmoid().flatten(1).topk(3).values
        return [{"scores": found} for found in scores]


def main() -> None:
    """Explain five outputs."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, 24, 24)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier, regression = encoder(*pooled, nn.Linear(8, SCORES)), encoder(*pooled, nn.Linear(8, 1))
    embedding, segmentation = encoder(*pooled), encoder(nn.Conv2d(8, SCORES, 1))
    other = embedding(torch.rand(1, 3, 24, 24)).detach()
    most = int(segmentation(images).argmax(1).flatten().mode().values)
    maps = {
        "class 1 against class 3": LRP(classifier, start=one_against_another).attribute(images),
        "a regression's value": LRP(regression).attribute(images, Value()),
        "likeness to another image": LRP(embedding).attribute(images, Likeness(other)),
        "the commonest class's pixels": LRP(segmentation).attribute(images, Pixels(most)),
        "the second box": LRP(Detector()).attribute(images, Detection(1)),
    }
    for what, relevance in maps.items():
        print(f"{what:<28} {float(relevance.sum()):9.4f}")


if __name__ == "__main__":
    main()
