"""Input x Gradient (Shrikumar et al., 2016), by captum."""

import captum.attr
from torch import Tensor, nn

from relsplit.explainers.shared.captum_call import Score, captum_call, with_score
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options


@checked_options
class InputXGradient:
    """The normalised image times the gradient of the score.

    Args:
        model: any differentiable network.
        score: ``"logit"`` (captum on a plain network) or ``"probability"``.

    Raises:
        InputError: an unknown score.
    """

    forward_equivalents = 2.0
    """Forward and backward."""

    def __init__(self, model: nn.Module, score: Score = "logit") -> None:
        self._shared = SharedNetwork(model)
        self._score = score

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the score."""
        with captum_call():
            network, images, classes = self._shared.prepare(images, target)
            method = captum.attr.InputXGradient(with_score(network, self._score))
            attribution: Tensor = method.attribute(images, classes)
        return attribution.detach()
