"""Softmax-gradient LRP (Iwana, Kuroki and Uchida, ICCV Workshops 2019)."""

from typing import Any

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.on_the_image import Smoothing, smoothed
from relsplit.explainers.shared.rivals import check_has_rivals
from relsplit.lrp import LRP
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.networks.answer import Answer, Scores
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options


@checked_options
class SoftmaxGradientLRP:
    """Relevance begun with the gradient of the class's probability: what speaks for its rivals is negative.

    With the probabilities p and the class c, the start is ``p_c (1 - p_c)`` at c and ``-p_c p_j`` at every other class
    j; it sums to 0, and so does the map. Classes that do not exclude each other have no rivals: there the start is
    ``p_c (1 - p_c)`` alone, the gradient of a sigmoid.

    Args:
        model: any network that LRP explains.
        rule: see :class:`relsplit.LRP`.
        split: see :class:`relsplit.LRP`.
        smoothing: of the map on the image, as a relevance pyramid's; None: every pixel its own.
        scores: see :class:`relsplit.LRP`.

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
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._lrp = LRP(model, split, rule=rule)
        self._smoothing = smoothing

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W), positive where the class's probability is raised and negative where its rivals' are.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or the model answers with one number for
                two classes.
        """
        with torch.inference_mode(False), torch.no_grad():
            answer = self._shared.call(images).answer()
            check_has_rivals(answer, "softmax_gradient_lrp")
            start = softmax_gradient(answer, answer.classes(target))
            return smoothed(self._lrp.attribute(images, lambda _: start).sum(1), images, self._smoothing)


def softmax_gradient(answer: Answer, classes: Tensor) -> Tensor:
    """Return the gradient (N, classes) of the probability of ``classes`` (N,) with respect to the logits."""
    probabilities, column = answer.probabilities, classes[:, None]
    own = probabilities.gather(1, column)
    if answer.kind == "multi_label":
        return torch.zeros_like(probabilities).scatter_(1, column, own * (1 - own))
    others = probabilities.scatter(1, column, 0)
    # The sum of the others is 1 - p_c without what rounding would take from it.
    return (-own * others).scatter_(1, column, own * others.sum(1, keepdim=True))
