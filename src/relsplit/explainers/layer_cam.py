"""LayerCAM (Jiang et al., IEEE TIP 2021), equal to pytorch-grad-cam's."""

from torch import Tensor

from relsplit.explainers.shared.gradient_cam import GradientCAM


class LayerCAM(GradientCAM):
    """Activations of the target layer, each weighted by the positive part of its own gradient, summed over channels.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import LayerCAM
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(LayerCAM(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)
    """

    @staticmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, see :meth:`relsplit.explainers.shared.gradient_cam.GradientCAM.combine`."""
        return (gradient.clamp(min=0) * activation).sum(dim=1)
