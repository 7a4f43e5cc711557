"""Input x Gradient (Shrikumar et al., 2016)."""

import torch
from torch import Tensor, nn

from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options


@checked_options
class InputXGradient:
    """The normalised image times the gradient of the score.

    Args:
        model: any differentiable network.
        score: ``"logit"`` (captum on a plain network) or ``"probability"``.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

    Raises:
        InputError: an unknown score.
    """

    forward_equivalents = 2.0
    """Forward and backward."""

    def __init__(self, model: nn.Module, score: ClassScore = "logit", scores: Scores = "auto") -> None:
        self._shared = SharedNetwork(model, scores)
        self._score: ClassScore = score

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the score."""
        with torch.inference_mode(False):
            call = self._shared.call(images)
            gradient, _ = call.gradient(target, self._score)
            return call.images * gradient
