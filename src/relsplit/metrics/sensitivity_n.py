"""Does the relevance of several pixels together say what happens when they are taken away?"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from relsplit.baseline import Baseline, BaselineImage
from relsplit.checks import checked_images, checked_maps
from relsplit.metrics.explained_batch import ExplainedBatch
from relsplit.metrics.image_generator import image_generator
from relsplit.metrics.laid_out import laid_out
from relsplit.networks.answer import AnswerReader, Scores, reader_of
from relsplit.networks.batches import BatchSize, evaluating
from relsplit.networks.explained_values import explained_values, values_in_batches
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Limits, Seed, checked_options
from relsplit.targets.target import Target

Share = Annotated[float, Limits(above=0, maximum=1)]
Subsets = Annotated[int, Limits(minimum=3, maximum=1_000_000)]


@checked_options
def subset_correlation(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: "Target | None",
    *,
    shares: Sequence[Share] = (0.1, 0.3, 0.5),
    subsets: Subsets = 20,
    seed: Seed = 42,
    baseline: Baseline = "mean",
    forward_kwargs: "Mapping[str, Any] | None" = None,
    scores: Scores | AnswerReader = "auto",
    output: "OutputChoice | None" = None,
) -> Tensor:
    """Return the correlation between summed relevance and the drop of the class's probability, over random pixels.

    Ancona et al. 2018, Sec. 3: for a number n of pixels, Pearson's correlation over random sets of n pixels between
    the sum of the map and the drop when they are replaced; then the mean over several n. Quantus has this, for one n,
    as FaithfulnessCorrelation; its SensitivityN correlates over the images of a batch, which gives an image no value.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import subset_correlation
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> images, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 3])
        >>> maps = LRP(model).attribute(images, targets).sum(1)
        >>> tuple(subset_correlation(model, images, maps, targets).shape)
        (2,)

    Args:
        model: network of normalised images; as it is now.
        images: (N, C, H, W), normalised, so that 0 is the mean colour; or signals (N, C, L), volumes (N, C, D, H, W),
            tables (N, F) or tokens (N, T).
        maps: (N, H, W), (N, L), (N, D, H, W), (N, F) or (N, T).
        targets: (N,) class whose probability is read, None for the predicted one, or a target of
            :mod:`relsplit.targets`, whose value is read.
        shares: n, as shares of all pixels.
        subsets: random sets for each n. They follow from the image's own content and ``seed``.
        seed: another seed draws others.
        baseline: what they are replaced with, see :data:`relsplit.baseline.Baseline`.
        forward_kwargs: what the network gets besides, by name; what is of single samples stays with them.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.
        output: which part of it is explained, see :class:`relsplit.LRP`.

    Returns:
        (N,) float64 in [-1, 1]; a map or an answer that is the same for all sets counts 0.

    Raises:
        InputError: arguments that do not fit together.
    """
    laid = laid_out(model, images, [maps], forward_kwargs)
    model, images, (maps,) = laid.model, checked_images(laid.images), laid.maps
    hidden = laid.baseline(BaselineImage(baseline)).expand_as(images)
    maps = checked_maps(maps, images)
    correlations, sizes = [], BatchSize(32)
    with evaluating(model) as network:
        values = explained_values(network, images, targets, reader_of(scores), output, sizes)
        for number, (image, instead, relevance) in enumerate(
            zip(images, hidden, maps.double().flatten(1), strict=True)
        ):
            gone = _random_sets(laid.content[number], shares, subsets, seed).to(image.device)  # (., H * W)
            masks = torch.cat([torch.zeros_like(gone[:1]), gone]).view(-1, 1, *image.shape[1:])  # the image, then each
            masked = partial(_masked, image, instead, masks)
            item = np.arange(len(masks))
            row = np.full_like(item, number)
            read = values_in_batches(network, len(masks), masked, sizes, [values], item, row, len(images))
            sums = (gone.double() @ relevance).view(len(shares), subsets).cpu()
            drops = torch.from_numpy(read[0] - read[1:]).view(len(shares), subsets)
            correlations.append(_pearson(sums, drops).mean())
    return torch.stack(correlations)


@checked_options
class SensitivityN:
    """Column ``sensitivity_n``, see :func:`subset_correlation`; ``len(shares) * subsets`` + 1 forward passes a sample.

    Args:
        shares: of the pixels that are taken away.
        subsets: random sets for each share.
        seed: another seed draws others.
        baseline: what pixels are replaced with, see :data:`relsplit.baseline.Baseline`.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
    """

    def __init__(
        self,
        shares: Sequence[Share] = (0.1, 0.3, 0.5),
        subsets: Subsets = 20,
        seed: Seed = 42,
        baseline: Baseline = "mean",
        scores: Scores = "auto",
    ) -> None:
        self.shares = tuple(shares)
        self.subsets = subsets
        self.seed = seed
        self.baseline: Baseline = baseline
        self._reader = AnswerReader(scores)

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the correlation of every sample."""
        values = subset_correlation(
            batch.network, batch.images, batch.maps, batch.targets,
            shares=self.shares, subsets=self.subsets, seed=self.seed, baseline=self.baseline, scores=self._reader,
        )  # fmt: skip
        return {"sensitivity_n": values}


def _random_sets(content: Tensor, shares: Sequence[float], subsets: int, seed: int) -> Tensor:
    generator = image_generator(content, seed)
    pixels = content[0].numel()
    gone = torch.zeros(len(shares) * subsets, pixels, dtype=torch.bool)
    for row in range(len(gone)):
        count = max(1, round(shares[row // subsets] * pixels))
        gone[row, torch.randperm(pixels, generator=generator)[:count]] = True
    return gone


def _masked(image: Tensor, instead: Tensor, masks: Tensor, start: int, stop: int) -> Tensor:
    return torch.where(masks[start:stop], instead, image)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    a, b = _centred(a), _centred(b)
    spread = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(spread == 0, torch.zeros_like(spread), (a * b).sum(1) / spread)


def _centred(values: Tensor) -> Tensor:
    """Rows (N, S) without their mean, at most 1; 0 where what differs by rounding alone, which does not differ."""
    centred = values - values.mean(1, keepdim=True)
    largest = centred.abs().amax(1, keepdim=True)
    differs = largest > 1e-11 * values.abs().amax(1, keepdim=True)
    return torch.where(differs, centred / largest, torch.zeros_like(centred))
