"""Integrated Gradients (Sundararajan et al., ICML 2017), by captum."""

from collections.abc import Sequence
from typing import Annotated, Literal

import captum.attr
import torch
from torch import Tensor, nn

from relsplit.baseline import Baseline, BaselineImage
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import Count, Limits, checked_options

Method = Literal["gausslegendre", "riemann_trapezoid", "riemann_middle", "riemann_left", "riemann_right"]


@checked_options
class IntegratedGradients:
    """The gradient's mean on the way from the baseline to the image, times their difference.

    As ``steps`` grows, the attributions sum to score(image) - score(baseline).

    Args:
        model: any differentiable network.
        steps: gradients per image (captum's default, published: 50).
        method: how the integral is approximated (captum's default, published: ``"gausslegendre"``).
        baseline: see :data:`relsplit.baseline.Baseline` (captum's default, published: ``"mean"``).
        mean: see ``baseline``.
        std: see ``baseline``.
        score: ``"logit"`` (published) or ``"probability"``.
        batch_size: interpolated images per forward pass, None to let the device decide; changes memory and speed, not
            the result.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

    Raises:
        InputError: an option has an unknown value, or fewer than one step or image.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: Annotated[int, Limits(minimum=1, maximum=100_000)] = 50,
        method: Method = "gausslegendre",
        baseline: Baseline = "mean",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        score: ClassScore = "logit",
        batch_size: Count | None = None,
        scores: Scores = "auto",
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._baseline = BaselineImage(baseline, mean, std)
        self._steps = steps
        self._method = method
        self._score: ClassScore = score
        self._batch_size = batch_size

    @property
    def forward_equivalents(self) -> float:
        """Forward and backward, once per step."""
        return 2.0 * self._steps

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the score."""
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(images)
            images = call.images
            answer = call.differentiable(images.clone().requires_grad_())
            per_pass = images_per_pass(self._batch_size, images.device, images.shape[-2:].numel())
            attribution: Tensor = captum.attr.IntegratedGradients(call.scores(answer, self._score)).attribute(
                images,
                baselines=self._baseline.of(images).expand_as(images),
                target=answer.classes(target),
                n_steps=self._steps,
                method=self._method,
                internal_batch_size=max(per_pass, len(images)),
            )
        return attribution.detach()
