"""Remove And Debias (ROAD): pixels are taken away so that their outline says nothing."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn

from relsplit.checks import checked_images, checked_maps, checked_target
from relsplit.metrics.explained_batch import ExplainedBatch
from relsplit.metrics.image_generator import image_generator
from relsplit.metrics.insertion_deletion.ranking import rank_pixels
from relsplit.metrics.order import ordered
from relsplit.networks.answer import AnswerReader, Scores, reader_of
from relsplit.networks.batches import BatchSize, answers_in_batches, evaluating
from relsplit.options import Limits, Seed, checked_options

Percentage = Annotated[float, Limits(above=0, below=100)]
Noise = Annotated[float, Limits(minimum=0)]
PERCENTAGES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
NEIGHBOURS = [(y, x, 1 / 6 if x * y == 0 else 1 / 12) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


@checked_options
def imputed_survival(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Tensor,
    *,
    percentages: Sequence[Percentage] = PERCENTAGES,
    noise: Noise = 0.01,
    seed: Seed = 42,
    scores: Scores | AnswerReader = "auto",
) -> Tensor:
    """Return how often the network still answers with the class when the highest pixels are imputed.

    Rong et al. 2022, Sec. 4: a removed pixel becomes the weighted mean of its eight neighbours, of which removed ones
    are unknowns of the same system of equations, plus noise. So the mask cannot be read off the imputed image.

    Args:
        model: classifier of normalised images; as it is now.
        images: (N, C, H, W), normalised.
        maps: (N, H, W); only their order matters, ties in order of pixel index.
        targets: (N,) the class.
        percentages: of the pixels that are removed, one image each.
        noise: standard deviation, in units of the normalised image; follows from the image's own content and ``seed``.
        seed: another seed draws other noise.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.

    Returns:
        (N,) float64 in [0, 1], the share of the percentages at which the class is still the predicted one; low is good.

    Raises:
        InputError: arguments that do not fit together.
    """
    images = checked_images(images)
    ranks = rank_pixels(checked_maps(ordered(maps), images)).rank.cpu().numpy()
    targets = checked_target(targets, len(images), device=images.device)
    shares = []
    reader = reader_of(scores)
    with evaluating(model) as network:
        for image, rank, target in zip(images, ranks, targets, strict=True):
            generator = image_generator(image, seed)
            pixels = image.detach().cpu().double()
            removed = []
            for percentage in percentages:
                mask = rank < int(rank.size * percentage / 100)
                draw = torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
                filled = torch.from_numpy(linear_imputation(pixels.numpy(), mask))
                removed.append(filled + noise * draw * torch.from_numpy(mask))
            shown = torch.stack(removed).to(image)
            shares.append((_predicted(network, shown, reader) == target).double().mean())
    return torch.stack(shares).cpu()


def _predicted(network: nn.Module, images: Tensor, reader: AnswerReader) -> Tensor:
    parts = answers_in_batches(network, len(images), lambda start, stop: images[start:stop], BatchSize(32), reader)
    return torch.cat([answer.predicted for _, _, answer in parts])


def linear_imputation(image: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return ``image`` (C, H, W) with the pixels of ``mask`` (H, W) as the weighted mean of their neighbours.

    Straight neighbours weigh 1/6 and diagonal ones 1/12; those outside of the image do not count.
    """
    if not mask.any():
        return image
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    count = len(rows)
    number = np.full(mask.shape, -1)
    number[rows, columns] = np.arange(count)
    diagonal = np.zeros(count)
    known = np.zeros((count, len(image)))
    entries: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]] = []
    for dy, dx, weight in NEIGHBOURS:
        y, x = rows + dy, columns + dx
        (inside,) = np.nonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
        diagonal[inside] += weight
        other = number[y[inside], x[inside]]
        unknown = other >= 0
        entries.append((inside[unknown], other[unknown], -weight))
        given = inside[~unknown]
        known[given] += weight * image[:, y[given], x[given]].T
    entries.append((np.arange(count), np.arange(count), 1.0))
    values = np.concatenate([np.full(len(i), w) for i, _, w in entries[:-1]] + [diagonal])
    place = np.concatenate([i for i, _, _ in entries]), np.concatenate([j for _, j, _ in entries])
    filled: npt.NDArray[np.float64] = image.copy()
    solution = spsolve(coo_matrix((values, place), (count, count)).tocsc(), known)
    filled[:, rows, columns] = solution.reshape(count, -1).T
    return filled


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
