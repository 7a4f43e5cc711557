"""Grad-CAM++ (Chattopadhyay et al., WACV 2018), equal to pytorch-grad-cam's."""

import torch
from torch import Tensor

from relsplit.explainers.shared.gradient_cam import GradientCAM

_SMALL = 1e-6
"""Added to the denominator, as in pytorch-grad-cam."""


class GradCAMPlusPlus(GradientCAM):
    """Channels of the target layer, weighted by their positive gradients, each of which counts by Equation 19.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import GradCAMPlusPlus
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(GradCAMPlusPlus(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)
    """

    @staticmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, see :meth:`relsplit.explainers.shared.gradient_cam.GradientCAM.combine`."""
        # The third power of a gradient is nothing in half precision.
        activation, gradient = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (activation, gradient))
        places = tuple(range(2, activation.dim()))
        total = activation.sum(dim=places, keepdim=True)
        shares = gradient**2 / (2 * gradient**2 + total * gradient**3 + _SMALL)
        weights = (gradient.clamp(min=0) * shares).sum(dim=places, keepdim=True)
        return (weights * activation).sum(dim=1)
