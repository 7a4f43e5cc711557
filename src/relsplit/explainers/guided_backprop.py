"""Guided BackPropagation (Springenberg et al., 2015)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.vectors import length
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options
from relsplit.targets.target import Target

RELU = "ReluBackward0"
"""autograd's step back through a ReLU, be it a module, a function, a method or in place."""


@checked_options
class GuidedBackprop:
    """The gradient of the score, of which each ReLU passes only the positive part.

    The ReLUs are those that the network has really called, as autograd has recorded them.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import GuidedBackprop
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(GuidedBackprop(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 3, 16, 16)

    Args:
        model: any differentiable network with ReLUs.
        score: ``"logit"`` (published) or ``"probability"``.
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
        """Attribution of the inputs' shape in units of the score per unit of the input; of tokens (N, T), its length.

        Raises:
            InputError: the network has called no ReLU, or see :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False):
            call = self._shared.call(inputs, target, forward_kwargs)
            return call.arranged(call.gradient(self._score, watch=_guide), by=length)


def _guide(output: Tensor) -> None:
    """Have every ReLU on the way back from ``output`` pass on only what is positive."""
    found, waiting = False, [output.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == RELU:
            found = True
            node.register_hook(_positive_part)
        waiting.extend(following for following, _ in node.next_functions)
    if not found:
        raise InputError("guided_backprop acts on ReLUs, and the network has none: use another explainer")


def _positive_part(gradients: tuple[Tensor | None, ...], _outer: Any) -> tuple[Tensor | None, ...]:
    return tuple(gradient if gradient is None else gradient.clamp(min=0) for gradient in gradients)
