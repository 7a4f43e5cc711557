"""Class activation maps of one layer by the gradient there, scaled as pytorch-grad-cam scales them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.on_the_image import activation_on_the_image
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.named_layers import find_layer, last_spatial_layer, layer_output
from relsplit.networks.shared_network import SharedNetwork, differentiated

try:
    from pytorch_grad_cam.utils.image import scale_cam_image
except ImportError as error:
    raise InputError(
        f"Grad-CAM and its kin need pytorch-grad-cam, which cannot be loaded ({error}): pip install 'grad-cam>=1.5.7'; "
        "if it is OpenCV's libGL that is missing, pip install --force-reinstall --no-deps opencv-python-headless"
    ) from error

Combine = Callable[[Tensor, Tensor], Tensor]
"""From a layer's activation and the gradient of the score there, (N, C, h, w) each, to one map (N, h, w)."""


class GradientCAM:
    """What Grad-CAM and its kin share: all but how activation and gradient become one map.

    Args:
        model: see :class:`relsplit.explainers.GradCAM`, as the other options.
        target_layer: of which the activation is.
        score: what is differentiated.
        smoothing: None for pytorch-grad-cam's scaling; else see
            :func:`relsplit.explainers.shared.on_the_image.activation_on_the_image`.
        scores: what the network's output holds.

    Raises:
        InputError: the network has no such layer.
    """

    def __init__(
        self, model: nn.Module, target_layer: str, score: ClassScore, smoothing: float | None, scores: Scores
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._score: ClassScore = score
        self._target_layer = target_layer
        self._smoothing = smoothing
        if target_layer != "auto":
            find_layer(model, target_layer)

    def maps(self, images: Tensor, target: Tensor | int | None, combine: Combine) -> Tensor:
        """Return the positive part of what ``combine`` makes of the layer, (N, H, W) in [0, 1].

        Raises:
            InputError: the layer returns no feature map of more than one cell, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(images)
            images, network, name = call.images, call.network, self._target_layer
            layer = last_spatial_layer(network, images[:1]) if name == "auto" else find_layer(network, name)
            output, activation = layer_output(network, layer, name, images)
            answer = call.checked(output)
            score = answer.score(answer.classes(target), self._score)
            (gradient,) = differentiated(score.sum(), [activation])
        cam = combine(activation.detach(), gradient).to(torch.promote_types(images.dtype, torch.float32))
        if self._smoothing is not None:
            return activation_on_the_image(cam, (images.shape[-2], images.shape[-1]), self._smoothing).to(images.dtype)
        # Twice, as in the library: before and after its mean over layers, of which there is one.
        scaled = scale_cam_image(np.maximum(cam.cpu().numpy(), 0), (images.shape[-1], images.shape[-2]))
        return torch.from_numpy(scale_cam_image(scaled)).to(images)
