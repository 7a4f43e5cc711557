"""Grad-CAM (Selvaraju et al., ICCV 2017), the maps scaled as pytorch-grad-cam scales them."""

import numpy as np
import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.named_layers import find_layer, last_spatial_layer, layer_output
from relsplit.networks.shared_network import SharedNetwork, differentiated
from relsplit.options import checked_options

try:
    from pytorch_grad_cam.utils.image import scale_cam_image
except ImportError as error:
    raise InputError(
        f"Grad-CAM needs pytorch-grad-cam, which cannot be loaded ({error}): pip install 'grad-cam>=1.5.7'; if it is "
        "OpenCV's libGL that is missing, pip install --force-reinstall --no-deps opencv-python-headless"
    ) from error


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
        scores: Scores = "auto",
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._score: ClassScore = score
        self._target_layer = target_layer
        if target_layer != "auto":
            find_layer(model, target_layer)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W) in [0, 1], already at image size, made as pytorch-grad-cam makes them (float32 inside).

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
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        cam = (
            (weights * activation.detach())
            .sum(dim=1)
            .to(torch.promote_types(images.dtype, torch.float32))
            .cpu()
            .numpy()
        )
        # Twice, as in the library: before and after its mean over layers, of which there is one.
        scaled = scale_cam_image(np.maximum(cam, 0), (images.shape[-1], images.shape[-2]))
        return torch.from_numpy(scale_cam_image(scaled)).to(images)
