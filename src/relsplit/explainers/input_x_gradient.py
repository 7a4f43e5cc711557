"""Input x Gradient (Shrikumar et al., 2016)."""

import torch
from torch import Tensor, nn

from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options
from relsplit.targets.target import Target


@checked_options
class InputXGradient:
    """The normalised image times the gradient of the score.

    Args:
        model: any differentiable network.
        score: ``"logit"`` (captum on a plain network) or ``"probability"``.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an unknown score.
    """

    forward_equivalents = 2.0
    """Forward and backward."""

    def __init__(
        self,
        model: nn.Module,
        score: ClassScore = "logit",
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._score: ClassScore = score

    def attribute(self, images: Tensor, target: "Target | None" = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the score."""
        with torch.inference_mode(False):
            call = self._shared.call(images, target)
            return call.images * call.gradient(self._score)
