"""Relevance of every resolution of a network, put together on the image."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.errors import InputError
from relsplit.explainers.shared.on_the_image import Smoothing, mean_on_the_image
from relsplit.lrp import LRP
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.stages import ALL, is_feature_map
from relsplit.lrp.start import Start
from relsplit.networks.answer import Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.options import checked_options
from relsplit.targets.target import Target


@checked_options
class RelevancePyramid:
    """The mean over a network's resolutions of the relevance there, smoothed (docs/faithful_maps.md).

    At the last place of every resolution all relevance comes by, so each of these maps sums to what the explanation
    started from, and so does their mean: nothing is lost on the way to the pixels either.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import RelevancePyramid
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(RelevancePyramid(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any network that LRP explains.
        rule: see :class:`relsplit.LRP`; "gamma_top": z+ in the lower layers, gamma in the upper ones.
        split: see :class:`relsplit.LRP`.
        start: see :class:`relsplit.LRP`.
        smoothing: of every map; 0 for none.
        at: "all" resolutions, the path of one module, for the relevance of its output alone ("layer3"), or several;
            where a skip connection leads around a module, its relevance is a part of the whole.
        scores: see :class:`relsplit.LRP`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
        UnsupportedModelError: the model is a TorchScript as a whole.
    """

    forward_equivalents = 5.0
    """The forward pass, and two to five products per layer: z+ below, gamma above."""

    def __init__(
        self,
        model: nn.Module,
        rule: str | Rule | RuleChoice | dict[str, Any] = "gamma_top",
        split: str | Splitting = "ratio",
        start: Start = "probability",
        smoothing: Smoothing = 0.07,
        at: str | Sequence[str] = "all",
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._lrp = LRP(model, split, rule=rule, start=start, scores=scores, output=output)
        self._smoothing = smoothing
        self._at = [at] if isinstance(at, str) and at != ALL else at

    def attribute(self, images: Tensor, target: "Target | None" = None) -> Tensor:
        """Maps (N, H, W), each of the sum that its explanation started from.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or a module of ``at`` does not exist, or
                returns no feature map (N, C, h, w).
        """
        images = checked_images(images)
        size = (images.shape[-2], images.shape[-1])
        stages: dict[str, Tensor] = self._lrp.attribute(images, target, at=self._at)
        for name, stage in stages.items():
            if not is_feature_map(stage, images):
                shape = tuple(stage.shape)
                raise InputError(f"at: {name!r} returns {shape}, no feature map of images {tuple(images.shape)}")
        return mean_on_the_image([stage.sum(1) for stage in stages.values()], size, self._smoothing)
