"""HiResCAM (Draelos and Carin, 2020), equal to pytorch-grad-cam's."""

from torch import Tensor

from relsplit.explainers.shared.gradient_cam import GradientCAM


class HiResCAM(GradientCAM):
    """Activations of the target layer times their own gradients, summed over channels, positive part."""

    @staticmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, see :meth:`relsplit.explainers.shared.gradient_cam.GradientCAM.combine`."""
        return (gradient * activation).sum(dim=1)
