"""Remove And Debias (ROAD): pixels are taken away so that their outline says nothing."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn

from relsplit.checks import checked_batch, checked_maps
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import ExplainedBatch
from relsplit.metrics.image_generator import image_generator
from relsplit.metrics.insertion_deletion.ranking import rank_pixels
from relsplit.metrics.order import ordered
from relsplit.networks.answer import AnswerReader, Scores, reader_of
from relsplit.networks.batches import BatchSize, evaluating, outputs_in_batches
from relsplit.networks.explained_values import ClassValues, explained_values
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Limits, Seed, checked_options
from relsplit.targets.target import Target

Percentage = Annotated[float, Limits(above=0, below=100)]
Noise = Annotated[float, Limits(minimum=0)]
PERCENTAGES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


@checked_options
def imputed_survival(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: "Target | None",
    *,
    percentages: Sequence[Percentage] = PERCENTAGES,
    noise: Noise = 0.01,
    seed: Seed = 42,
    scores: Scores | AnswerReader = "auto",
    output: "OutputChoice | None" = None,
) -> Tensor:
    """Return how often the network still answers with the class when the highest pixels are imputed.

    Rong et al. 2022, Sec. 4: a removed pixel becomes the weighted mean of its eight neighbours, of which removed ones
    are unknowns of the same system of equations, plus noise. So the mask cannot be read off the imputed image.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import imputed_survival
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> images, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 3])
        >>> maps = LRP(model).attribute(images, targets).sum(1)
        >>> tuple(imputed_survival(model, images, maps, targets).shape)
        (2,)

    Args:
        model: classifier of normalised images; as it is now.
        images: (N, C, H, W), normalised; or signals (N, C, L) or volumes (N, C, D, H, W).
        maps: (N, H, W), (N, L) or (N, D, H, W); only their order matters, ties in order of pixel index.
        targets: (N,) the class, None for the predicted one; of a part of the output within a
            :class:`relsplit.targets.Key`.
        percentages: of the pixels that are removed, one image each.
        noise: standard deviation, in units of the normalised image; follows from the image's own content and ``seed``.
        seed: another seed draws other noise.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.
        output: which part of it is explained, see :class:`relsplit.LRP`.

    Returns:
        (N,) float64 in [0, 1], the share of the percentages at which the class is still the predicted one; low is good.

    Raises:
        InputError: arguments that do not fit together.
    """
    images = checked_batch(images, "images")
    if not images.is_floating_point() or images.dim() < 3:
        raise InputError(
            "road fills in what was taken away from its neighbours, so it is of images (N, C, H, W), signals (N, C, L) "
            f"and volumes (N, C, D, H, W), not of {tuple(images.shape)}, {images.dtype}"
        )
    maps = checked_maps(ordered(maps), images)
    in_a_row = maps.reshape(len(maps), 1, -1)
    ranks = rank_pixels(in_a_row).rank.reshape(maps.shape).cpu().numpy()
    shares, sizes = [], BatchSize(32)
    with evaluating(model) as network:
        values = explained_values(network, images, targets, reader_of(scores), output, sizes)
        if not isinstance(values, ClassValues):
            raise InputError(
                "road asks how often a class stays the predicted one, so it is of classes: flipping_area and "
                "score_curves are of any target"
            )
        for image, rank, target in zip(images, ranks, values.classes, strict=True):
            generator = image_generator(image, seed)
            pixels = image.detach().cpu().double()
            removed = []
            for percentage in percentages:
                mask = rank < int(rank.size * percentage / 100)
                draw = torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
                filled = torch.from_numpy(linear_imputation(pixels.numpy(), mask))
                removed.append(filled + noise * draw * torch.from_numpy(mask))
            shown = torch.stack(removed).to(image)
            outputs = outputs_in_batches(network, len(shown), partial(_between, shown), sizes)
            predicted = torch.cat([values.answer(found, stop - start).predicted for start, stop, found in outputs])
            shares.append((predicted == target).double().mean())
    return torch.stack(shares).cpu()


def _between(images: Tensor, start: int, stop: int) -> Tensor:
    return images[start:stop]


def linear_imputation(image: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return ``image`` (C, H, W) with the pixels of ``mask`` (H, W) as the weighted mean of their neighbours.

    Straight neighbours weigh 1/6 and diagonal ones 1/12, half of it again for each further axis; those outside of the
    image do not count. A signal (C, L) has neighbours along one axis, a volume (C, D, H, W) along three.
    """
    if not mask.any():
        return image
    places = np.nonzero(mask)
    count = len(places[0])
    taken = np.ravel_multi_index(places, mask.shape)
    number = np.full(mask.size, -1)
    number[taken] = np.arange(count)
    flat = image.reshape(len(image), -1)
    diagonal = np.zeros(count)
    known = np.zeros((count, len(image)))
    entries: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]] = []
    for step in itertools.product((-1, 0, 1), repeat=mask.ndim):
        if not any(step):
            continue
        weight = 1 / 3 / 2 ** np.count_nonzero(step)
        there = [axis + by for axis, by in zip(places, step, strict=True)]
        fits = [(axis >= 0) & (axis < side) for axis, side in zip(there, mask.shape, strict=True)]
        (inside,) = np.nonzero(np.logical_and.reduce(fits))
        diagonal[inside] += weight
        at = np.ravel_multi_index([axis[inside] for axis in there], mask.shape)
        other = number[at]
        unknown = other >= 0
        entries.append((inside[unknown], other[unknown], -weight))
        known[inside[~unknown]] += weight * flat[:, at[~unknown]].T
    entries.append((np.arange(count), np.arange(count), 1.0))
    values = np.concatenate([np.full(len(i), w) for i, _, w in entries[:-1]] + [diagonal])
    place = np.concatenate([i for i, _, _ in entries]), np.concatenate([j for _, j, _ in entries])
    filled: npt.NDArray[np.float64] = flat.copy()
    solution = spsolve(coo_matrix((values, place), (count, count)).tocsc(), known)
    filled[:, taken] = solution.reshape(count, -1).T
    return filled.reshape(image.shape)


@checked_options
class ROAD:
    """Column ``road``, see :func:`imputed_survival`; a forward pass per percentage and a system of equations.

    Args:
        percentages: of the pixels that are removed.
        noise: standard deviation, in units of the normalised image.
        seed: another seed draws other noise.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
    """

    def __init__(
        self,
        percentages: Sequence[Percentage] = PERCENTAGES,
        noise: Noise = 0.01,
        seed: Seed = 42,
        scores: Scores = "auto",
    ) -> None:
        self.percentages = tuple(percentages)
        self.noise = noise
        self.seed = seed
        self._reader = AnswerReader(scores)

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the share of every sample."""
        values = imputed_survival(
            batch.network, batch.images, batch.maps, batch.targets,
            percentages=self.percentages, noise=self.noise, seed=self.seed, scores=self._reader,
        )  # fmt: skip
        return {"road": values}
