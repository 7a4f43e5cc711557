"""GAE as a torchmetrics metric and as columns of an evaluation."""

from pathlib import Path
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.metrics.explained_batch import Explain, ExplainedBatch
from relsplit.metrics.gae.protocol import IMAGES, Name
from relsplit.metrics.gae.score import global_attribution_evaluation
from relsplit.networks.answer import AnswerReader, Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Count, Seed, checked_options

PARTS = ("faithfulness", "robustness", "local_consistency", "contrastiveness", "gae")


@checked_options
class GlobalAttributionEvaluation(torchmetrics.Metric):
    """Means over mosaics of GAE and its parts, see :func:`relsplit.metrics.gae.score.global_attribution_evaluation`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import GlobalAttributionEvaluation
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> metric = GlobalAttributionEvaluation(model, LRP(model).attribute)
        >>> metric.update(torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 3]))
        >>> sorted(metric.compute())
        ['contrastiveness', 'faithfulness', 'gae', 'local_consistency', 'robustness']

    Args:
        model: classifier of normalised images, as it is at every update.
        explain: computes maps (N, H, W) or attributions (N, C, H, W) of images for classes.
        protocol: "strict" or "released".
        batch_size: images that are grouped together, a multiple of four.
        seed: of the draw of the positives.
        cache_dir: where what all methods share is kept; None: nowhere.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of it is explained, see :class:`relsplit.LRP`.
        kwargs: of :class:`torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False

    total: Tensor
    mosaics: Tensor

    def __init__(
        self,
        model: nn.Module,
        explain: Explain,
        *,
        protocol: Name = "strict",
        batch_size: Count = IMAGES,
        seed: Seed = 42,
        cache_dir: str | Path | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Not as a submodule: moving, saving or switching the metric must not touch the user's model.
        self.__dict__["model"] = model
        self.explain = explain
        self.options: dict[str, Any] = {
            "protocol": protocol,
            "batch_size": batch_size,
            "seed": seed,
            "cache_dir": cache_dir,
            "scores": AnswerReader(scores),
            "output": output,
        }
        self.add_state("total", default=torch.zeros(len(PARTS), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("mosaics", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Tensor, labels: Tensor) -> None:
        """Score a batch of four or more images (N, 3, H, W) with ground truth ``labels`` (N,).

        Raises:
            InputError: fewer images than are grouped together, or odd sides.
        """
        scores = global_attribution_evaluation(self.model, self.explain, images, labels, **self.options)
        self.total += torch.stack([getattr(scores, part).sum() for part in PARTS]).to(self.total.device)
        self.mosaics += len(scores.positives)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of every part over all mosaics.

        Raises:
            InputError: no mosaic has been scored.
        """
        if self.mosaics == 0:
            raise InputError("no mosaic has been scored: call update with at least four images before compute")
        return dict(zip(PARTS, self.total / self.mosaics, strict=True))


@checked_options
class GAE:
    """Columns ``gae``, ``gae_faithfulness``, ... of the drawn positives; NaN for the other images of a mosaic.

    See :func:`relsplit.metrics.gae.score.global_attribution_evaluation`. Under "released" the columns end in
    ``_released``, and the method's own channels are looked at, where its attribution has the shape of the images.

    Args:
        protocol: "strict" or "released".
        batch_size: images that are grouped together, a multiple of four; every batch of an evaluation holds one.
        seed: of the draw of the positives.
        cache_dir: where what all methods share is kept; None: nowhere.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

    Raises:
        InputError: a ``batch_size`` that is no multiple of four.
    """

    def __init__(
        self,
        protocol: Name = "strict",
        batch_size: Count = IMAGES,
        seed: Seed = 42,
        cache_dir: str | None = None,
        scores: Scores = "auto",
    ) -> None:
        if batch_size % IMAGES:
            raise InputError(f"metric.gae.batch_size={batch_size}: mosaics are of four images: give a multiple of 4")
        self.protocol = protocol
        self.images_together = batch_size
        self.seed = seed
        self.cache_dir = cache_dir
        self._reader = AnswerReader(scores)

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the parts for every positive."""
        maps_of = batch.explain_with(batch.network)

        def explain(images: Tensor, targets: Tensor) -> Tensor:
            if self.protocol == "released" and (own := batch.attribute(images, targets)).shape == images.shape:
                return own
            return maps_of(images, targets)

        suffix = "" if self.protocol == "strict" else f"_{self.protocol}"
        names = {part: f"{'gae' if part == 'gae' else f'gae_{part}'}{suffix}" for part in PARTS}
        empty = torch.full((len(batch.images),), torch.nan, dtype=torch.float64)
        if len(batch.images) < self.images_together:  # images of this batch could not be read
            return {name: empty.clone() for name in names.values()}
        scores = global_attribution_evaluation(
            batch.network,
            explain,
            batch.images,
            batch.labels,
            protocol=self.protocol,
            batch_size=self.images_together,
            seed=self.seed,
            cache_dir=self.cache_dir,
            scores=self._reader,
        )
        return {name: empty.index_put((scores.positives,), getattr(scores, part)) for part, name in names.items()}
