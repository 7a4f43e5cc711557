"""Explain what is no class score: one class against another, a regression, an embedding, a class's pixels.

``python examples/explain_any_output.py`` runs on small random networks; every line shows what is explained, and the sum
of its map.
"""

import torch
from torch import Tensor, nn

from relsplit import LRP

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


def class_pixels(output: Tensor) -> Tensor:
    """As ``target``: from scores of every pixel (N, classes, H, W) to the relevance of those that are of one class."""
    found = output.argmax(1, keepdim=True)
    most = found.flatten().mode().values
    return output.softmax(1) * ((found == most) & (torch.arange(output.shape[1]) == most).reshape(1, -1, 1, 1))


def main() -> None:
    """Explain four outputs."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, 24, 24)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier, regression = encoder(*pooled, nn.Linear(8, SCORES)), encoder(*pooled, nn.Linear(8, 1))
    embedding, segmentation = encoder(*pooled), encoder(nn.Conv2d(8, SCORES, 1))
    other = embedding(torch.rand(1, 3, 24, 24)).detach()
    maps = {
        "class 1 against class 3": LRP(classifier, start=one_against_another).attribute(images),
        "a regression's value": LRP(regression, start="logit").attribute(images, target=1),
        "likeness to another image": LRP(embedding).attribute(images, target=lambda mine: mine * other),
        "the commonest class's pixels": LRP(segmentation).attribute(images, target=class_pixels),
    }
    for what, relevance in maps.items():
        print(f"{what:<28} {float(relevance.sum()):9.4f}")


if __name__ == "__main__":
    main()
