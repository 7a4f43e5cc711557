"""Grad-CAM (Selvaraju et al., ICCV 2017), the maps scaled as pytorch-grad-cam scales them."""

from torch import Tensor

from relsplit.explainers.shared.gradient_cam import GradientCAM


class GradCAM(GradientCAM):
    """Channels of the target layer, weighted by the mean gradient of the score, positive part, scaled to [0, 1].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import GradCAM
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(GradCAM(model, target_layer="1").attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)
    """

    @staticmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, see :meth:`relsplit.explainers.shared.gradient_cam.GradientCAM.combine`."""
        return (gradient.mean(dim=tuple(range(2, gradient.dim())), keepdim=True) * activation).sum(dim=1)
