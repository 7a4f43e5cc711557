"""Input x Gradient (Shrikumar et al., 2016)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options
from relsplit.targets.target import Target


@checked_options
class InputXGradient:
    """The input times the gradient of the score.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import InputXGradient
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(InputXGradient(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 3, 16, 16)

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

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Attribution of the inputs' shape in units of the score; of tokens (N, T), summed over their vectors."""
        with torch.inference_mode(False):
            call = self._shared.call(inputs, target, forward_kwargs)
            gradients = call.gradient(self._score)
            return call.arranged([value * gradient for value, gradient in zip(call.values, gradients, strict=True)])
