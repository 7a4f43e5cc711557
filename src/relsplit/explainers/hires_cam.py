"""HiResCAM (Draelos and Carin, 2020), equal to pytorch-grad-cam's."""

from torch import Tensor

from relsplit.explainers.shared.gradient_cam import GradientCAM


class HiResCAM(GradientCAM):
    """Activations of the target layer times their own gradients, summed over channels, positive part.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import HiResCAM
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(HiResCAM(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)
    """

    @staticmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, see :meth:`relsplit.explainers.shared.gradient_cam.GradientCAM.combine`."""
        return (gradient * activation).sum(dim=1)
