"""VGG (Simonyan and Zisserman, 2015) with few channels, for small images."""

import torchvision
from torch import nn
from torchvision.models.vgg import make_layers

CHANNELS: list[str | int] = [24, "M", 48, "M", 96, 96, "M", 128, 128, "M"]


def small_vgg(num_classes: int) -> nn.Module:
    """Return torchvision's VGG with BatchNorm, six convolutions of 24 to 128 channels, and one hidden linear layer.

    Args:
        num_classes: outputs.
    """
    network: nn.Module = torchvision.models.VGG(make_layers(CHANNELS, batch_norm=True), num_classes=num_classes)
    network.avgpool = nn.AdaptiveAvgPool2d(2)
    network.classifier = nn.Sequential(
        nn.Linear(128 * 4, 128), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(128, num_classes)
    )
    return network
