"""A network that tells four colours apart, pixel by pixel, and images of them: it is known where a class is seen."""

import torch
from torch import Tensor, nn

COLOURS = torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9], [0.9, 0.9, 0.9]])


class ColourDetector(nn.Sequential):
    """One channel for each of red, green, blue and white, which is 0 wherever another of them is; averaged."""

    def __init__(self) -> None:
        detect, classify = nn.Conv2d(3, 4, 1), nn.Linear(4, 4, bias=False)
        super().__init__(detect, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), classify)
        with torch.no_grad():
            detect.weight.fill_(-1)
            detect.weight[range(3), range(3)] = 1
            detect.weight[3] = 1
            detect.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -2.0]))
            classify.weight.copy_(30 * torch.eye(4))


def colour_images(count: int, side: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return images (count, 3, side, side) in [0, 1], no two of them equal, and their classes (count,) in turns."""
    targets = torch.arange(count) % 4
    noise = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return COLOURS[targets][:, :, None, None] + 0.05 * (2 * noise - 1), targets
