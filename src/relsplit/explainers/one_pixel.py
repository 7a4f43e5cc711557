"""Control: one pixel."""

from typing import Any

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.places import checked_places
from relsplit.targets.target import Target


class OnePixel:
    """1 at the centre pixel and 0 elsewhere: explains nothing, and yet has the best score under the released metric.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import OnePixel
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(OnePixel(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: unused.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module) -> None:
        pass

    def attribute(self, inputs: Tensor, target: "Target | None" = None) -> Tensor:
        """The same map for every image, (N, H, W); of other inputs (N, ...), see ``shared/places.py``."""
        given, places, dtype = checked_places(inputs)
        maps = torch.zeros(len(given), *places, dtype=dtype, device=given.device)
        centre: tuple[Any, ...] = (slice(None), *(side // 2 for side in places))
        maps[centre] = 1
        return maps
