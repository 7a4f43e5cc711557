"""Grad-CAM (Selvaraju et al., ICCV 2017), the maps scaled as pytorch-grad-cam scales them."""

from torch import Tensor, nn

from relsplit.explainers.shared.gradient_cam import GradientCAM
from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.networks.answer import ClassScore, Scores
from relsplit.options import checked_options


@checked_options
class GradCAM:
    """Channels of the target layer, weighted by the mean gradient of the score, positive part, scaled to [0, 1].

    Args:
        model: network with a ``target_layer`` that returns a feature map: (N, C, h, w), (N, h, w, C), or the tokens of
            a grid, whose class token is left out.
        target_layer: name such as ``layer4[-1]`` (the paper's, for ResNets) or ``features.18``; ``auto`` takes the last
            module that returns a feature map, which for torchvision ResNets is the same, and for vision transformers
            the last one whose patches the answer depends on.
        score: what is differentiated, ``"logit"`` (pytorch-grad-cam's default, published) or ``"probability"``.
        smoothing: brings the map to the image as a relevance pyramid's are, blurred by a Gaussian whose standard
            deviation is this share of the image's longer side; None: as published.
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
        """Maps (N, H, W) in [0, 1], already at image size, made as pytorch-grad-cam makes them (float32 inside).

        Raises:
            InputError: the layer returns no feature map of more than one cell, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        return self._cam.maps(images, target, _by_mean_gradient)


def _by_mean_gradient(activation: Tensor, gradient: Tensor) -> Tensor:
    return (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)
