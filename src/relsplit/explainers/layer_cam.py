"""LayerCAM (Jiang et al., IEEE TIP 2021), equal to pytorch-grad-cam's."""

from torch import Tensor

from relsplit.explainers.shared.gradient_cam import GradientCAM


class LayerCAM(GradientCAM):
    """Activations of the target layer, each weighted by the positive part of its own gradient, summed over channels."""

    @staticmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, see :meth:`relsplit.explainers.shared.gradient_cam.GradientCAM.combine`."""
        return (gradient.clamp(min=0) * activation).sum(dim=1)
