"""The grid pointing game as a torchmetrics metric and as a column of an evaluation."""

from collections.abc import Sequence
from typing import Any

import torchmetrics
from torch import Tensor, nn
from torchmetrics.utilities import dim_zero_cat

from relsplit.checks import checked_images, checked_target
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import Explain, ExplainedBatch
from relsplit.metrics.grid_pointing.score import CONFIDENCE, Cells, Explained, GridGame, grid_pointing_game
from relsplit.metrics.sure_images import ImageAt
from relsplit.networks.answer import AnswerReader, Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Seed, Share, checked_options


@checked_options
class GridPointing(torchmetrics.Metric):
    """Mean over images of the grid pointing game, see :func:`grid_pointing_game`.

    The images of all updates, and of all processes, are played with together in ``compute``, so how they were divided
    into batches plays no part. They are kept until then; ``compute_on_cpu=True`` keeps them out of a GPU's memory.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import GridPointing
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
        >>> model[2].weight.data, model[2].bias.data = 9 * torch.eye(4), torch.zeros(4)
        >>> lrp = LRP(model)
        >>> metric = GridPointing(model, lambda images, targets: lrp.attribute(images, targets).sum(1))
        >>> images = torch.eye(4)[:, :, None, None].expand(4, 4, 8, 8)  # of one colour each
        >>> metric.update(images, torch.arange(4))
        >>> float(metric.compute()["grid_pointing"])
        1.0

    Args:
        model: classifier of normalised images, as it is when ``compute`` is called.
        explain: computes maps (N, H, W) of images for classes.
        cells: of a row of the grid, 2 or 3.
        confidence: least probability of the class of an image that takes part.
        explained: "own" or "all".
        shrink: whether the mosaic has the side of an image.
        seed: of the draw of the mosaics.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of it is explained, see :class:`relsplit.LRP`.
        kwargs: of :class:`torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False

    images: list[Tensor]
    targets: list[Tensor]

    def __init__(
        self,
        model: nn.Module,
        explain: Explain,
        *,
        cells: Cells = 2,
        confidence: Share = CONFIDENCE,
        explained: Explained = "own",
        shrink: bool = False,
        seed: Seed = 42,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Not as a submodule: moving, saving or switching the metric must not touch the user's model.
        self.__dict__["model"] = model
        self.explain = explain
        self.options: dict[str, Any] = {
            "cells": cells,
            "confidence": confidence,
            "explained": explained,
            "shrink": shrink,
            "seed": seed,
            "scores": AnswerReader(scores),
            "output": output,
        }
        self.add_state("images", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, images: Tensor, targets: Tensor) -> None:
        """Take in a batch of images (N, C, H, W), normalised, of the classes ``targets`` (N,).

        Raises:
            InputError: arguments that do not fit together.
        """
        images = checked_images(images)
        self.targets.append(checked_target(targets, len(images), device=images.device, option="targets").clone())
        self.images.append(images.clone())

    def compute(self) -> dict[str, Tensor]:
        """Return the mean over the images that the network is sure of, in [0, 1]; 1 / cells² is chance.

        Raises:
            InputError: no image was taken in, or they are of too few classes.
        """
        if not self.images:
            raise InputError("no image was taken in: call update before compute")
        images, targets = dim_zero_cat(self.images), dim_zero_cat(self.targets)
        return {
            "grid_pointing": grid_pointing_game(self.model, self.explain, images, targets, **self.options).nanmean()
        }


@checked_options
class GridPointingColumn:
    """Column ``grid_pointing``, see :func:`grid_pointing_game`; NaN where the network is not sure of the sample.

    The other images of a sample's mosaic are drawn among all samples of the evaluation.

    Args:
        cells: of a row of the grid, 2 or 3.
        confidence: least probability of the class of an image that takes part.
        explained: "own" or "all".
        shrink: whether the mosaic has the side of an image.
        seed: of the draw of the mosaics.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
    """

    def __init__(
        self,
        cells: Cells = 2,
        confidence: Share = CONFIDENCE,
        explained: Explained = "own",
        shrink: bool = False,
        seed: Seed = 42,
        scores: Scores = "auto",
    ) -> None:
        self._game = GridGame(cells, confidence, explained, shrink, seed, AnswerReader(scores))

    def look_at(self, network: nn.Module, labels: Sequence[int], image_at: ImageAt) -> None:
        """Find the samples that the network is sure of.

        Args:
            network: the explained one.
            labels: of every sample of the evaluation.
            image_at: reads their images.

        Raises:
            InputError: no mosaic can be made of them, or the network does not answer one.
        """
        self._game.look_at(network, labels, image_at)

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the score of every sample."""
        explain = batch.explain_with(batch.network)
        return {"grid_pointing": self._game.score(explain, batch.images, batch.labels)}
