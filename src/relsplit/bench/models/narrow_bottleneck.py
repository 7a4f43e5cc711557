"""The block of the demo network."""

from torchvision.models.resnet import Bottleneck


class NarrowBottleneck(Bottleneck):
    """torchvision's Bottleneck without the fourfold widening of its output: 512 channels at the end, not 2048.

    Methods that run the network once per channel (Score-CAM) take a quarter of the time.
    """

    expansion = 1
