"""Integrated Gradients (Sundararajan et al., ICML 2017), by captum."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import captum.attr
import torch
from captum.attr._utils.approximation_methods import approximation_parameters
from torch import Tensor, nn

from relsplit.baseline import Baseline, BaselineImage
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import Call, SharedNetwork, gradients
from relsplit.options import Count, Limits, checked_options
from relsplit.targets.target import Target

Method = Literal["gausslegendre", "riemann_trapezoid", "riemann_middle", "riemann_left", "riemann_right"]


@checked_options
class IntegratedGradients:
    """The gradient's mean on the way from the baseline to the input, times their difference.

    As ``steps`` grows, the attributions sum to score(input) - score(baseline).

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import IntegratedGradients
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(IntegratedGradients(model, steps=4).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 3, 16, 16)

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
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

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
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._baseline = BaselineImage(baseline, mean, std)
        self._steps = steps
        self._method = method
        self._score: ClassScore = score
        self._batch_size = batch_size

    @property
    def forward_equivalents(self) -> float:
        """Forward and backward, once per step."""
        return 2.0 * self._steps

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Attribution of the inputs' shape in units of the score; of tokens (N, T), summed over their vectors."""
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            if callable(call.explained) or not call.is_of_images:
                return self._of_anything(call)
            images = call.images
            answer = call.differentiable(images.clone().requires_grad_())
            per_pass = images_per_pass(self._batch_size, images.device, images.shape[-2:].numel())
            attribution: Tensor = captum.attr.IntegratedGradients(call.scores(answer, self._score)).attribute(
                images,
                baselines=self._baseline.of(images).expand_as(images),
                target=answer.classes(call.explained),
                n_steps=self._steps,
                method=self._method,
                internal_batch_size=max(per_pass, len(images)),
            )
        return attribution.detach()

    def _of_anything(self, call: Call) -> Any:
        """All samples at once, a step after another: a target may say something else of each."""
        call.gradient(self._score)  # what the network or the target does not allow is said here
        score = call.by_sample(self._score)
        sizes, alphas = (function(self._steps) for function in approximation_parameters(self._method))
        baselines = call.baselines(self._baseline)
        differences = [value - baseline for value, baseline in zip(call.values, baselines, strict=True)]
        totals = [torch.zeros_like(each) for each in differences]
        for size, alpha in zip(sizes, alphas, strict=True):
            on_the_way = [
                baseline + float(alpha) * difference
                for baseline, difference in zip(baselines, differences, strict=True)
            ]
            for total, gradient in zip(totals, gradients(score, on_the_way), strict=True):
                total += float(size) * gradient
        return call.arranged([total * difference for total, difference in zip(totals, differences, strict=True)])
