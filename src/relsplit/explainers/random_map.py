"""Control: a map of independent uniform noise."""

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.image_seed import image_seed
from relsplit.explainers.shared.places import checked_places
from relsplit.options import Seed, checked_options
from relsplit.targets.target import Target


@checked_options
class RandomMap:
    """Uniform noise in [0, 1); what a method that knows nothing scores.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import RandomMap
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(RandomMap(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: unused.
        seed: another seed gives every image another map.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module, seed: Seed = 42) -> None:
        self._seed = seed

    def attribute(self, inputs: Tensor, target: "Target | None" = None) -> Tensor:
        """Maps (N, H, W), each from its image's own seed; of other inputs (N, ...), see ``shared/places.py``."""
        given, places, dtype = checked_places(inputs)
        maps = [
            torch.rand(places, generator=torch.Generator().manual_seed(image_seed(sample, self._seed)))
            for sample in given
        ]
        return torch.stack(maps).to(given.device, dtype)
