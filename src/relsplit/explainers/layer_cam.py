"""LayerCAM (Jiang et al., IEEE TIP 2021), equal to pytorch-grad-cam's."""

from torch import Tensor, nn

from relsplit.explainers.shared.gradient_cam import GradientCAM
from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.networks.answer import ClassScore, Scores
from relsplit.options import checked_options


@checked_options
class LayerCAM:
    """Activations of the target layer, each weighted by the positive part of its own gradient, summed over channels.

    Args:
        model: see :class:`relsplit.explainers.GradCAM`, as the other options.
        target_layer: name such as ``layer4[-1]``, or ``auto`` for the last module that returns a feature map.
        score: what is differentiated, ``"logit"`` (as published) or ``"probability"``.
        smoothing: of the map on the image; None: as published.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

    Raises:
        InputError: the network has no such layer, or an unknown score.
    """

    forward_equivalents = 1.0
    """One forward pass; the backward pass ends at the target layer, near the output."""

    def __init__(
        self,
        model: nn.Module,
        target_layer: str = "auto",
        score: ClassScore = "logit",
        smoothing: Smoothing | None = None,
        scores: Scores = "auto",
    ) -> None:
        self._cam = GradientCAM(model, target_layer, score, smoothing, scores)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W) in [0, 1], at image size.

        Raises:
            InputError: see :meth:`relsplit.explainers.GradCAM.attribute`.
        """
        return self._cam.maps(images, target, _by_positive_gradient)


def _by_positive_gradient(activation: Tensor, gradient: Tensor) -> Tensor:
    return (gradient.clamp(min=0) * activation).sum(dim=1)
