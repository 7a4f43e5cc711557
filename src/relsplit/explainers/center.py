"""Control: a Gaussian at the centre of the image."""

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.places import checked_places
from relsplit.options import Positive, checked_options
from relsplit.targets.target import Target


@checked_options
class Center:
    """exp(-d^2 / 2), d the distance to the centre; what the habit of photographing things in the middle is worth.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import Center
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(Center(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: unused.
        width: standard deviation, as a share of the image's height and width.

    Raises:
        InputError: ``width`` is not positive.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module, width: Positive = 0.25) -> None:
        self._width = width

    def attribute(self, inputs: Tensor, target: "Target | None" = None) -> Tensor:
        """The same map for every image, (N, H, W) in (0, 1]; of other inputs (N, ...), see ``shared/places.py``."""
        given, places, dtype = checked_places(inputs)
        profile = torch.ones((), dtype=torch.float64)
        for n in places:
            side = torch.exp(-((((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) / self._width) ** 2) / 2)
            profile = profile[..., None] * side
        return profile.to(given.device, dtype).expand(len(given), *places).clone()
