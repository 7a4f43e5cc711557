"""Explain a segmentation: which pixels of a drawn scene make the network find a bird where it finds one.

``python examples/explain_a_segmentation.py`` trains a small network in seconds, prints which share of the positive
relevance lies on the bird, and draws a scene that it was not trained on, what was found, and why.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from bird_scenes import pixels, scenes
from relsplit import LRP
from relsplit.pictures import light_overlay
from relsplit.targets import Pixels

SIZE, BIRD = 96, 1


def block(channels: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    """A convolution, normalised and rectified."""
    convolution = nn.Conv2d(channels, width, 3, stride, padding=dilation, dilation=dilation)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


class Segmenter(nn.Module):
    """A small U-Net: scores of background and bird at every pixel, by what is there and what lies around it."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.fine = block(3, width)
        self.coarse = nn.Sequential(
            block(width, 2 * width, stride=2), block(2 * width, 2 * width), block(2 * width, 2 * width, dilation=2),
            block(2 * width, width), nn.Upsample(scale_factor=2, mode="bilinear"),
        )  # fmt: skip
        self.head = nn.Sequential(block(2 * width, width), nn.Conv2d(width, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (N, 2, H, W) of images (N, 3, H, W)."""
        fine = self.fine(images)
        scores: Tensor = self.head(torch.cat([fine, self.coarse(fine)], 1))
        return scores


def trained(images: Tensor, masks: Tensor) -> nn.Module:
    """Train a network on masks (N, H, W), booleans."""
    torch.manual_seed(0)
    network, epochs, size = Segmenter(), 6, 8
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * -(-len(images) // size))
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(size):
            loss = F.cross_entropy(network(images[batch]), masks[batch].long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def share_on_the_bird(relevance: Tensor, masks: Tensor) -> Tensor:
    """Return which share of the positive relevance (N, 3, H, W) lies on masks (N, H, W), for each image."""
    positive = relevance.sum(1).clamp(min=0)
    return (positive * masks).sum((1, 2)) / positive.sum((1, 2))


def main(picture: Path) -> None:
    """Train, explain, and draw."""
    images, masks = scenes(160, seed=0, size=SIZE)
    network = trained(images, masks[:, 0])
    images, masks = scenes(40, seed=1, size=SIZE)
    bird, found = masks[:, 0], network(images).argmax(1) == BIRD
    print(f"overlap with held-out birds {float((found & bird).sum() / (found | bird).sum()):.2f}")
    print(f"share of the picture that is bird {float(bird.float().mean()):.2f}")
    relevance, sums = LRP(network).attribute(images, Pixels(BIRD), return_sums=True)
    print(f"gap {float((relevance.sum((1, 2, 3)) / sums['output'] - 1).abs().max()):.0e}")
    print(f"share of the positive relevance on the bird {float(share_on_the_bird(relevance, bird).mean()):.2f}")
    figure = Figure(figsize=(7.5, 2.7), layout="constrained")
    image, why = pixels(images[0]), light_overlay(pixels(images[0]), relevance[0].sum(0).numpy())
    for axes, shown, title in zip(
        figure.subplots(1, 3), (image, image, why), ("scene", "found as bird", "why: relevance"), strict=True
    ):
        axes.imshow(shown)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
        if shown is not image or title != "scene":
            axes.contour(found[0], levels=[0.5], colors="white", linewidths=1.5)
    figure.savefig(picture, dpi=100)
    print(picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, default=Path("segmentation.png"))
    main(parser.parse_args().picture)
