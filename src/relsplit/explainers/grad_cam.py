"""Grad-CAM (Selvaraju et al., ICCV 2017), by pytorch-grad-cam."""

from typing import Any

import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from torch import Tensor, nn

from relsplit.explainers.shared.captum_call import Score
from relsplit.networks.named_layers import feature_map, find_layer, last_spatial_layer
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options

SCORES = {"logit": ClassifierOutputTarget, "probability": ClassifierOutputSoftmaxTarget}


@checked_options
class GradCAM:
    """Channels of the target layer, weighted by the mean gradient of the score, positive part, scaled to [0, 1].

    Args:
        model: network with a convolutional ``target_layer``.
        target_layer: name such as ``layer4[-1]`` (the paper's, for ResNets) or ``features.18``; ``auto`` takes the last
            module that returns a feature map, which for torchvision ResNets is the same.
        score: what is differentiated, ``"logit"`` (pytorch-grad-cam's default, published) or ``"probability"``.

    Raises:
        InputError: the network has no such layer, or an unknown score.
    """

    forward_equivalents = 1.0
    """One forward pass; the backward pass ends at the target layer, near the output."""

    def __init__(self, model: nn.Module, target_layer: str = "layer4[-1]", score: Score = "logit") -> None:
        self._shared = SharedNetwork(model)
        self._score = SCORES[score]
        self._target_layer = target_layer
        if target_layer != "auto":
            find_layer(model, target_layer)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W) in [0, 1], already at image size, made as pytorch-grad-cam makes them (float32 inside)."""
        with torch.inference_mode(False), torch.enable_grad():
            network, images, classes = self._shared.prepare(images, target)
            auto = self._target_layer == "auto"
            layer = last_spatial_layer(network, images[:1]) if auto else find_layer(network, self._target_layer)
            # The gradient starts at the layer's output: nothing before it needs a graph.
            start = layer.register_forward_hook(_start_graph)
            try:
                with pytorch_grad_cam.GradCAM(network, [layer]) as cam:
                    # What follows may change its input in place; the library keeps a view of this output.
                    protect = layer.register_forward_hook(lambda _module, _inputs, output: output.clone())
                    try:
                        maps = cam.forward(images, [self._score(int(c)) for c in classes])
                    finally:
                        protect.remove()
            finally:
                start.remove()
        return torch.from_numpy(maps).to(images)


def _start_graph(module: nn.Module, _inputs: Any, output: Any) -> Tensor:
    return feature_map(module, output).detach().requires_grad_()
