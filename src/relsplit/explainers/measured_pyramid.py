"""Relevance at the resolution that explains an image best, by measurement."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.baseline import Baseline
from relsplit.explainers.shared.on_the_image import Smoothing, mean_on_the_image, on_the_image
from relsplit.lrp import LRP
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.start import Start
from relsplit.networks.answer import Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import inference_copy
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import Count, Limits, checked_options


@checked_options
class MeasuredPyramid:
    """Of several conserving maps of one walk back, for every image the one whose order the network follows best.

    The candidates are the relevance of the coarsest resolution, that of the one below it, and the mean over all
    resolutions, smoothed more or less (docs/faithful_maps.md). Each is measured on the image itself: the pixels are
    inserted into the baseline and deleted from the image in its order, in ``levels`` equal steps, and the area between
    the two curves of the class's probability decides. Every candidate sums to what the explanation started from.

    Args:
        model: any network that LRP explains.
        rule: see :class:`relsplit.LRP`.
        split: see :class:`relsplit.LRP`.
        start: see :class:`relsplit.LRP`.
        smoothing: of the means over all resolutions, one candidate each.
        levels: steps of a curve; a candidate costs ``2 (levels - 1)`` forward passes.
        baseline: what pixels are replaced with, see :class:`relsplit.explainers.shared.baseline.Baseline`.
        mean: see ``baseline``.
        std: see ``baseline``.
        batch_size: masked images per forward pass, None to let the device decide; changes memory and speed, not the
            result.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

    Raises:
        InputError: an option that does not exist.
        UnsupportedModelError: the model can neither be traced nor exported.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: str | Rule | RuleChoice | dict[str, Any] = "gamma_top",
        split: str | Splitting = "ratio",
        start: Start = "probability",
        smoothing: Sequence[Smoothing] = (0.018, 0.045, 0.107),
        levels: Annotated[int, Limits(minimum=2, maximum=10_000)] = 12,
        baseline: str | float | Sequence[float] = "zero",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        batch_size: Count | None = None,
        scores: Scores = "auto",
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._lrp = LRP(model, split, rule=rule, start=start, scores=self._shared.reader)
        self._smoothing = tuple(smoothing)
        self._levels = levels
        self._baseline = Baseline(baseline, mean, std)
        self._batch_size = batch_size

    @property
    def forward_equivalents(self) -> float:
        """The walk back, and the inner points of every candidate's two curves."""
        return 5.0 + (2 + len(self._smoothing)) * 2 * (self._levels - 1)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W), each of the sum that its explanation started from.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(images)
            images, answer = call.images, call.answer()
            network = inference_copy(call.network, answered=(images, answer.output))
            classes = answer.classes(target)
            candidates = self._candidates(images, classes)
            chosen = []
            for image, empty, maps, label in zip(
                images, self._baseline.like(images), candidates.unbind(1), classes.tolist(), strict=True
            ):

                def probability(masked: Tensor, label: int = label) -> Tensor:
                    return answer.like(network(masked)).probabilities[:, label]

                areas = self._areas(probability, image, empty, maps)
                chosen.append(maps[areas.argmax()])
            return torch.stack(chosen)

    def _candidates(self, images: Tensor, classes: Tensor) -> Tensor:
        """(candidates, N, H, W)."""
        size = (images.shape[-2], images.shape[-1])
        stages = [stage.sum(1) for stage in self._lrp.attribute(images, classes, at="all").values()]
        coarse = [on_the_image(stage, size, 0) for stage in (stages[-1], stages[max(len(stages) - 2, 0)])]
        whole = [mean_on_the_image(stages, size, smoothing) for smoothing in self._smoothing]
        return torch.stack([*coarse, *whole])

    def _areas(self, probability: Callable[[Tensor], Tensor], image: Tensor, empty: Tensor, maps: Tensor) -> Tensor:
        """Area between the insertion and the deletion curve of every map (candidates, H, W) of one image."""
        rank = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1).reshape(maps.shape)
        counts = torch.arange(1, self._levels, device=image.device) * rank[0].numel() // self._levels
        first = (rank[:, None] < counts.reshape(-1, 1, 1)).flatten(0, 1)[:, None]
        per_pass = images_per_pass(self._batch_size, image.device, image.shape[-2:].numel())
        found = []
        for shown in (first, ~first):
            for masks in shown.split(per_pass):
                masked = torch.where(masks, image, empty).contiguous(memory_format=torch.channels_last)
                found.append(probability(masked))
        inserted, deleted = torch.cat(found).reshape(2, len(maps), self._levels - 1)
        # The ends of the curves, the image and the baseline, are the same for all candidates.
        areas: Tensor = (inserted - deleted).sum(1)
        return areas
