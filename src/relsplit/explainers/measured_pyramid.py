"""Relevance at the resolution that explains an image best, by measurement."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from relsplit.baseline import Baseline, BaselineImage
from relsplit.explainers.shared.evidence_at_stages import evidence_at_stages, probability_of, warn_of_flat_evidence
from relsplit.explainers.shared.on_the_image import Smoothing, mean_of_shares, mean_on_the_image, on_the_image
from relsplit.explainers.shared.rivals import check_is_class
from relsplit.lrp import LRP
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.start import Start
from relsplit.metrics.insertion_deletion.masked_images import MaskedImages, Substrate
from relsplit.metrics.insertion_deletion.ranking import rank_pixels
from relsplit.networks.answer import Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import inference_copy
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import Count, Limits, checked_options
from relsplit.targets.target import Target, within


@checked_options
class MeasuredPyramid:
    """Of several conserving maps of one walk back, for every image the one whose order the network follows best.

    The candidates are the relevance of the coarsest resolution, that of the one below it, and the mean over all
    resolutions, smoothed more or less (docs/faithful_maps.md). Each is measured on the image itself: the pixels are
    inserted into the baseline and deleted from the image in its order, in ``levels`` equal steps, and the area between
    the two curves of the class's probability decides. Every candidate sums to what the explanation started from.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import MeasuredPyramid
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(MeasuredPyramid(model, levels=3).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any network that LRP explains.
        rule: see :class:`relsplit.LRP`.
        split: see :class:`relsplit.LRP`.
        start: see :class:`relsplit.LRP`; "evidence": the candidates are the resolutions of
            :class:`relsplit.explainers.ClassEvidence`, each scaled to the probability of the class.
        smoothing: of the means over all resolutions, one candidate each.
        levels: steps of a curve; a candidate costs ``2 (levels - 1)`` forward passes.
        baseline: what pixels are replaced with, see :data:`relsplit.baseline.Baseline`.
        mean: see ``baseline``.
        std: see ``baseline``.
        batch_size: masked images per forward pass, None to let the device decide; changes memory and speed, not the
            result.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
        UnsupportedModelError: the model is a TorchScript as a whole.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: str | Rule | RuleChoice | dict[str, Any] = "gamma_top",
        split: str | Splitting = "ratio",
        start: Start | Literal["evidence"] = "probability",
        smoothing: Sequence[Smoothing] = (0.018, 0.045, 0.107),
        levels: Annotated[int, Limits(minimum=2, maximum=10_000)] = 12,
        baseline: Baseline = "mean",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        batch_size: Count | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._of_evidence = start == "evidence"
        self._lrp = LRP(
            model, split, rule=rule, start=start, signed=self._of_evidence, scores=self._shared.reader, output=output
        )
        self._smoothing = tuple(smoothing)
        self._levels = levels
        self._baseline = BaselineImage(baseline, mean, std)
        self._batch_size = batch_size

    @property
    def forward_equivalents(self) -> float:
        """The walk back, and the inner points of every candidate's two curves."""
        return 5.0 + self._of_evidence + (2 + len(self._smoothing)) * 2 * (self._levels - 1)

    def attribute(self, images: Tensor, target: "Target | None" = None) -> Tensor:
        """Maps (N, H, W), each of the sum that its explanation started from.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(images, target)
            images, answer = call.images, call.answer()
            check_is_class(call.explained, "measured_pyramid")
            network = inference_copy(call.network, answered=(images, answer.output))
            classes = answer.classes(call.explained)
            candidates = self._candidates(images, within(target, classes)).unbind(1)
            baselines = self._baseline.of(images)
            chosen = []
            for index, (maps, label) in enumerate(zip(candidates, classes.tolist(), strict=True)):

                def probability(masked: Tensor, label: int = label) -> Tensor:
                    return answer.like(network(masked)).probabilities[:, label]

                baseline = baselines[index % len(baselines)][None]
                areas = self._areas(probability, images[index][None], baseline, maps)
                chosen.append(maps[areas.argmax()])
            return torch.stack(chosen)

    def _candidates(self, images: Tensor, target: Target) -> Tensor:
        """(candidates, N, H, W)."""
        size = (images.shape[-2], images.shape[-1])
        if self._of_evidence:
            return self._candidates_of_evidence(images, target, size)
        stages = [stage.sum(1) for stage in self._lrp.attribute(images, target, at="all").values()]
        coarse = [on_the_image(stage, size, 0) for stage in (stages[-1], stages[max(len(stages) - 2, 0)])]
        whole = [mean_on_the_image(stages, size, smoothing) for smoothing in self._smoothing]
        return torch.stack([*coarse, *whole])

    def _candidates_of_evidence(self, images: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        nets, run = evidence_at_stages(self._lrp, images, target)
        nets = [net.clamp(min=0) for net in nets]
        coarse = [mean_of_shares([net], size, 0)[0] for net in (nets[-1], nets[max(len(nets) - 2, 0)])]
        whole = [mean_of_shares(nets, size, smoothing) for smoothing in self._smoothing]
        warn_of_flat_evidence("measured_pyramid", whole[0][1], run, stacklevel=3)
        return probability_of(run)[:, None, None] * torch.stack([*coarse, *(maps for maps, _ in whole)])

    def _areas(self, probability: Callable[[Tensor], Tensor], image: Tensor, baseline: Tensor, maps: Tensor) -> Tensor:
        """Area between the insertion and the deletion curve of every map (candidates, H, W) of one image."""
        pixels, steps = maps[0].numel(), torch.arange(1, self._levels) * maps[0].numel() // self._levels
        # The ends of the curves, the image and the baseline, are the same for all candidates.
        requests = torch.cartesian_prod(torch.tensor([0]), torch.arange(len(maps)), torch.tensor([0, 1]), steps)
        masked = MaskedImages(image, [Substrate(rank_pixels(maps).rank, pixels, baseline)], requests.numpy())
        per_pass = images_per_pass(self._batch_size, image.device, pixels)
        found = []
        for start in range(0, len(masked), per_pass):
            shown = masked.build(start, min(start + per_pass, len(masked)))
            found.append(probability(shown.contiguous(memory_format=torch.channels_last)))
        of_request = torch.from_numpy(masked.item_of_request).to(image.device)
        curves = torch.cat(found)[of_request].reshape(len(maps), 2, -1)
        areas: Tensor = (curves[:, 0] - curves[:, 1]).sum(1)
        return areas
