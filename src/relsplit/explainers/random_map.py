"""Control: a map of independent uniform noise."""

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.explainers.shared.image_seed import image_seed
from relsplit.options import Seed, checked_options


@checked_options
class RandomMap:
    """Uniform noise in [0, 1); what a method that knows nothing scores.

    Args:
        model: unused.
        seed: another seed gives every image another map.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module, seed: Seed = 42) -> None:
        self._seed = seed

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W), each from its image's own seed."""
        images = checked_images(images)
        maps = [
            torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(image_seed(image, self._seed)))
            for image in images
        ]
        return torch.stack(maps).to(images)
