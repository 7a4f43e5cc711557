"""He et al.'s CIFAR ResNets with option A: skip connections without parameters that pad channels with zeros."""

import torch
import torch.nn.functional as F
from residual_networks import randomised
from torch import Tensor, nn


class OptionABlock(nn.Module):
    """A block of He et al.'s CIFAR ResNets, option A: the skip is strided, new channels are zeros."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.added = stride, channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        skip = x if self.stride == 1 else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(branch + skip)


def option_a_resnet(blocks: int = 2, classes: int = 10) -> nn.Module:
    """ResNet-(6 blocks + 2) for 32x32 images: 3 stages of 16, 32 and 64 channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        channels = 16
        for stage, width in enumerate((16, 32, 64)):
            for index in range(blocks):
                layers.append(OptionABlock(channels, width, 2 if stage and not index else 1))
                channels = width
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))
        return randomised(network)
