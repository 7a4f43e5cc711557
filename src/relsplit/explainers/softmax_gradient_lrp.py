"""Softmax-gradient LRP (Iwana, Kuroki and Uchida, ICCV Workshops 2019)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.explainers.shared.over_channels import over_channels
from relsplit.explainers.shared.rivals import check_has_rivals
from relsplit.lrp import LRP
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.networks.answer import Answer, Scores
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options
from relsplit.targets.target import Target, within


@checked_options
class SoftmaxGradientLRP:
    """Relevance begun with the gradient of the class's probability: what speaks for its rivals is negative.

    With the probabilities p and the class c, the start is ``p_c (1 - p_c)`` at c and ``-p_c p_j`` at every other class
    j; it sums to 0, and so does the map. Classes that do not exclude each other have no rivals: there the start is
    ``p_c (1 - p_c)`` alone, the gradient of a sigmoid.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import SoftmaxGradientLRP
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(SoftmaxGradientLRP(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any network that LRP explains.
        rule: see :class:`relsplit.LRP`.
        split: see :class:`relsplit.LRP`.
        smoothing: of the map on the image, as a relevance pyramid's; None: every pixel its own.
        scores: see :class:`relsplit.LRP`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
    """

    forward_equivalents = 4.0
    """A forward pass for the probabilities, and LRP."""

    def __init__(
        self,
        model: nn.Module,
        rule: str | Rule | RuleChoice | dict[str, Any] = "z_plus",
        split: str | Splitting = "ratio",
        smoothing: Smoothing | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._lrp = LRP(model, split, rule=rule, output=output)
        self._smoothing = smoothing

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Maps (N, H, W), positive where the class's probability is raised and negative where its rivals' are.

        Of other inputs as :func:`relsplit.explainers.shared.over_channels.over_channels` has them.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or the model answers with one number for
                two classes.
        """
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            answer = call.answer()
            check_has_rivals(answer, "softmax_gradient_lrp", call.explained)
            start = softmax_gradient(answer, answer.classes(call.explained))
            begun = within(target, lambda _: start)
            relevance = self._lrp.attribute(inputs, begun, forward_kwargs=forward_kwargs)
            return over_channels(relevance, inputs, self._smoothing)


def softmax_gradient(answer: Answer, classes: Tensor) -> Tensor:
    """Return the gradient (N, classes) of the probability of ``classes`` (N,) with respect to the logits."""
    probabilities, column = answer.probabilities, classes[:, None]
    own = probabilities.gather(1, column)
    if answer.kind == "multi_label":
        return torch.zeros_like(probabilities).scatter_(1, column, own * (1 - own))
    others = probabilities.scatter(1, column, 0)
    # The sum of the others is 1 - p_c without what rounding would take from it.
    return (-own * others).scatter_(1, column, own * others.sum(1, keepdim=True))
