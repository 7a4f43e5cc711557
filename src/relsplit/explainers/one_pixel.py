"""Control: one pixel."""

from torch import Tensor, nn

from relsplit.checks import checked_images


class OnePixel:
    """1 at the centre pixel and 0 elsewhere: explains nothing, and yet has the best score under the released metric.

    Args:
        model: unused.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module) -> None:
        pass

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """The same map for every image, (N, H, W)."""
        images = checked_images(images)
        maps = images.new_zeros(images[:, 0].shape)
        maps[:, maps.shape[1] // 2, maps.shape[2] // 2] = 1
        return maps
