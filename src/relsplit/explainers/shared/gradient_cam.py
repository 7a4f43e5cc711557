"""Class activation maps of one layer by the gradient there, scaled as pytorch-grad-cam scales them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.activation_maps import smoothed_cam, unit_range, upsampled, with_places
from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.named_layers import AUTO, find_layer, last_spatial_layer, layer_name, layer_output
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork, differentiated
from relsplit.options import checked_options
from relsplit.targets.target import Target

try:
    from pytorch_grad_cam.utils.image import scale_cam_image
except ImportError as error:
    raise InputError(
        f"Grad-CAM and its kin need pytorch-grad-cam, which cannot be loaded ({error}): pip install 'grad-cam>=1.5.7'; "
        "if it is OpenCV's libGL that is missing, pip install --force-reinstall --no-deps opencv-python-headless"
    ) from error


class GradientCAM(ABC):
    """What Grad-CAM and its kin share: all but how activation and gradient become one map.

    Args:
        model: network with a ``target_layer`` that returns a feature map: (N, C, h, w), (N, h, w, C), or the tokens of
            a grid, whose class token is left out; of signals (N, C, l) or (N, l, C), of volumes (N, C, d, h, w).
        target_layer: name such as ``layer4[-1]`` (the paper's, for ResNets) or ``features.18``; ``auto`` takes the last
            module that returns a feature map, which for torchvision ResNets is the same, and for vision transformers
            the last one whose patches the answer depends on. ``published`` is ``layer4[-1]`` of networks that have it,
            and ``auto`` of all others.
        score: what is differentiated, ``"logit"`` (pytorch-grad-cam's default, published) or ``"probability"``.
        smoothing: brings the map to the image as a relevance pyramid's are, blurred by a Gaussian whose standard
            deviation is this share of the image's longer side; None: as published.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: the network has no such layer, or an unknown score.
    """

    forward_equivalents = 1.0
    """One forward pass; the backward pass ends at the target layer, near the output."""

    @checked_options
    def __init__(
        self,
        model: nn.Module,
        target_layer: str = "auto",
        score: ClassScore = "logit",
        smoothing: Smoothing | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._score: ClassScore = score
        self._target_layer = layer_name(model, target_layer)
        self._smoothing = smoothing

    @staticmethod
    @abstractmethod
    def combine(activation: Tensor, gradient: Tensor) -> Tensor:
        """Return one map (N, h, w) of a layer's activation and the gradient of the score there, (N, C, h, w) each."""

    def attribute(
        self, inputs: Tensor, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Tensor:
        """Maps in [0, 1], already at the inputs' size: of images (N, H, W), of signals (N, L), of volumes (N, D, H, W).

        Those of images are made as pytorch-grad-cam makes them (float32 inside).

        Raises:
            InputError: the layer returns no feature map of more than one cell, tokens or several inputs, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            given, network, name = with_places(call), call.network, self._target_layer
            layer = last_spatial_layer(network, call.first) if name == AUTO else find_layer(network, name)
            output, activation = layer_output(network, layer, name, call.inputs)
            (gradient,) = differentiated(call.value(output, self._score), [activation])
        cam = self.combine(activation.detach(), gradient).to(torch.promote_types(given.dtype, torch.float32))
        return _at_size(cam, given) if self._smoothing is None else smoothed_cam(cam, given, self._smoothing)


def _at_size(cam: Tensor, given: Tensor) -> Tensor:
    """Bring class activation maps (N, ...) to the places of what was given, and into [0, 1]."""
    # Twice, as in the library: before and after its mean over layers, of which there is one.
    if given.dim() == 4:
        scaled = scale_cam_image(np.maximum(cam.cpu().numpy(), 0), (given.shape[-1], given.shape[-2]))
        return torch.from_numpy(scale_cam_image(scaled)).to(given)
    return unit_range(upsampled(unit_range(cam.clamp(min=0)), given.shape[2:])).to(given.dtype)
