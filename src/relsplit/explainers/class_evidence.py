"""What speaks for a class and against others, at every resolution of a network, put together on the image."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.explainers.shared.on_the_image import Smoothing, mean_on_the_image
from relsplit.lrp import LRP
from relsplit.lrp.evidence import Against
from relsplit.lrp.positions import on_grid
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.stages import AtStages
from relsplit.networks.answer import Scores
from relsplit.options import checked_options


@checked_options
class ClassEvidence:
    """Relevance of every resolution, begun on what the last feature map says for the class (docs/explainers.md).

    At every position of that map the contributions to the class, less those to its rivals, are summed over the
    channels, and what is left above zero is handed down (:mod:`relsplit.lrp.evidence`). Every resolution sums to the
    probability of the class, and so does the map. Where no position speaks for the class, the map is flat, and it is
    said.

    Args:
        model: any network that LRP explains.
        against: see :class:`relsplit.LRP`.
        signed: see :class:`relsplit.LRP`.
        rule: see :class:`relsplit.explainers.RelevancePyramid`.
        split: see :class:`relsplit.LRP`.
        at: "all": the mean of the resolutions, smoothed; "pixels": every pixel its own, not smoothed; "features": the
            last feature map alone, smoothed.
        smoothing: standard deviation of a Gaussian, as a share of the image's longer side; 0 for none.
        scores: see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
    """

    forward_equivalents = 6.0
    """Two forward passes, and the walk back."""

    def __init__(
        self,
        model: nn.Module,
        against: Against = "rivals",
        signed: bool = False,
        rule: str | Rule | RuleChoice | dict[str, Any] = "gamma_top",
        split: str | Splitting = "ratio",
        at: Literal["all", "pixels", "features"] = "all",
        smoothing: Smoothing = 0.07,
        scores: Scores = "auto",
    ) -> None:
        self._lrp = LRP(model, split, rule=rule, start="evidence", against=against, signed=signed, scores=scores)
        self._at = at
        self._smoothing = smoothing

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W), each of the sum of the class's probability (of its absolute value, where it is signed).

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or the network has no feature map that all
                relevance passes, or the explained class is the one that it is held against.
        """
        images = checked_images(images)
        size = images.shape[2:]
        run = self._lrp.observed(images, target, lambda recording, start: AtStages(size))
        if self._at == "pixels":
            return run.relevance.sum(1)
        # Tokens are no stage of their own, because those of no position have relevance elsewhere.
        last = on_grid(run.start, size)
        stages = list(run.observer.by_name().values()) if self._at == "all" else []
        if last is not None and (self._at == "features" or run.start.dim() == 3):
            stages.append(last)
        maps = mean_on_the_image([stage.sum(1) for stage in stages], (size[0], size[1]), self._smoothing)
        even = run.start.flatten(1).sum(1)[:, None, None] / size.numel()
        return maps if run.is_flat is None else torch.where(run.is_flat[:, None, None], even, maps)
