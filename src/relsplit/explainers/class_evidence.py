"""What speaks for a class and against others, at every resolution of a network, put together on the image."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.explainers.shared.evidence_at_stages import (
    begin_of,
    evidence_at_stages,
    probability_of,
    warn_of_flat_evidence,
)
from relsplit.explainers.shared.on_the_image import Smoothing, mean_of_shares
from relsplit.lrp import LRP
from relsplit.lrp.evidence import Against
from relsplit.lrp.positions import on_grid
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.networks.answer import Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.options import checked_options
from relsplit.targets.target import Target


@checked_options
class ClassEvidence:
    """Relevance of every resolution, begun on what the last feature map says for the class (docs/explainers.md).

    At every position of that map the contributions to the class, less those to its rivals, are summed over the
    channels (:mod:`relsplit.lrp.evidence`). What speaks for the class and what speaks against it are handed down
    together, the one as relevance, the other as negative relevance, and neither is lost. At every resolution both are
    netted once more, position by position; what is left above zero, scaled to the probability of the class, is that
    resolution's map. Where no position speaks for the class, the map is flat, and it is said.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import ClassEvidence
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(ClassEvidence(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any network that LRP explains.
        against: see :class:`relsplit.LRP`.
        netted: "everywhere"; or at the "start" alone: what is above zero there is handed down, and every resolution
            sums to the probability without being scaled.
        signed: whether the map shows what speaks against the class, too, as negative relevance; then its absolute
            values sum to the probability.
        rule: see :class:`relsplit.explainers.RelevancePyramid`.
        split: see :class:`relsplit.LRP`.
        at: "all": the mean of the resolutions, smoothed; "pixels": every pixel its own, not smoothed; "features": the
            last feature map alone, smoothed.
        smoothing: standard deviation of a Gaussian, as a share of the image's longer side; 0 for none.
        scores: see :class:`relsplit.LRP`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
    """

    forward_equivalents = 6.0
    """Two forward passes, and the walk back."""

    def __init__(
        self,
        model: nn.Module,
        against: Against = "rivals",
        netted: Literal["everywhere", "start"] = "everywhere",
        signed: bool = False,
        rule: str | Rule | RuleChoice | dict[str, Any] = "gamma_top",
        split: str | Splitting = "ratio",
        at: Literal["all", "pixels", "features"] = "all",
        smoothing: Smoothing = 0.07,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        both = signed or netted == "everywhere"
        self._lrp = LRP(
            model, split, rule=rule, start="evidence", against=against, signed=both, scores=scores, output=output
        )
        self._signed = signed
        self._at = at
        self._smoothing = smoothing

    def attribute(self, images: Tensor, target: "Target | None" = None) -> Tensor:
        """Maps (N, H, W), each of the sum of the class's probability (of its absolute value, where it is signed).

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or the network has no feature map that all
                relevance passes, or the explained class is the one that it is held against.
        """
        images = checked_images(images)
        size = images.shape[2:]
        nets, run = evidence_at_stages(self._lrp, images, target)
        if self._at == "pixels":
            nets = [run.relevance.sum(1)]
        elif self._at == "features" and (last := on_grid(begin_of(run), size)) is not None:
            nets = [last.sum(1)]
        if not self._signed:
            nets = [net.clamp(min=0) for net in nets]
        smoothing = None if self._at == "pixels" else self._smoothing
        shares, is_flat = mean_of_shares(nets, (size[0], size[1]), smoothing)
        if run.is_flat is not None:
            shares = torch.where(run.is_flat[:, None, None], 1 / size.numel(), shares)
        warn_of_flat_evidence("class_evidence", is_flat, run, stacklevel=2)
        return probability_of(run)[:, None, None] * shares
