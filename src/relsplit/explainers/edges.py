"""Control: the edges of the image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.errors import InputError


class Edges:
    """Sobel gradient magnitude of the grey image: how much of a map is nothing but contours (Adebayo et al., 2018).

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import Edges
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(Edges(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: unused.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module) -> None:
        pass

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W), at least 0, in units of the normalised pixel values; the border is repeated outwards."""
        images = checked_images(images)
        if images.shape[1] != 3:
            raise InputError(f"edges are those of colour images (N, 3, H, W), not of {tuple(images.shape)}")
        grey = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
        across = images.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        sobel = torch.stack([across, across.T])[:, None]
        return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), sobel).square().sum(dim=1).sqrt()
