"""Grad-CAM++ (Chattopadhyay et al., WACV 2018), equal to pytorch-grad-cam's."""

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.gradient_cam import GradientCAM
from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.networks.answer import ClassScore, Scores
from relsplit.options import checked_options

_SMALL = 1e-6
"""Added to the denominator, as in pytorch-grad-cam."""


@checked_options
class GradCAMPlusPlus:
    """Channels of the target layer, weighted by their positive gradients, each of which counts by Equation 19.

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
        return self._cam.maps(images, target, _by_equation_19)


def _by_equation_19(activation: Tensor, gradient: Tensor) -> Tensor:
    # The third power of a gradient is nothing in half precision.
    activation, gradient = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (activation, gradient))
    total = activation.sum(dim=(2, 3), keepdim=True)
    shares = gradient**2 / (2 * gradient**2 + total * gradient**3 + _SMALL)
    weights = (gradient.clamp(min=0) * shares).sum(dim=(2, 3), keepdim=True)
    return (weights * activation).sum(dim=1)
