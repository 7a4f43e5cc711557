"""Insertion and deletion curves of a batch of samples, under several protocols at once, in one stream of forwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relsplit.checks import checked_images, checked_maps, checked_target
from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.masked_images import MaskedImages, Substrate
from relsplit.metrics.insertion_deletion.protocols.protocol import Protocol
from relsplit.metrics.insertion_deletion.ranking import rank_pixels
from relsplit.metrics.insertion_deletion.replacement import baseline_image
from relsplit.networks.batches import BatchSize, evaluation_mode, probabilities_in_batches
from relsplit.options import Positive, checked_options

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Curve(NamedTuple):
    """One sample's curves over P points.

    Attributes:
        fraction: (P,) float64, position on the x axis, in [0, 1].
        insertion: (P,) float64, the class's probability, in [0, 1].
        deletion: (P,) float64, the class's probability, in [0, 1].
    """

    fraction: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]
    deletion: npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurveScores:
    """One protocol's scores of N samples.

    Attributes:
        insertion: (N,) float64 on the CPU, area under the insertion curve, in [0, 1].
        deletion: (N,) float64 on the CPU, area under the deletion curve, in [0, 1].
        curves: N curves that the areas were taken from.
    """

    insertion: Tensor
    deletion: Tensor
    curves: list[Curve]

    @property
    def id_score(self) -> Tensor:
        """Insertion minus deletion, (N,) in [-1, 1]."""
        return self.insertion - self.deletion


@checked_options
def score_curves(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Tensor,
    protocols: Mapping[str, Protocol],
    *,
    batch_size: int | BatchSize = 32,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[Positive] = IMAGENET_STD,
) -> dict[str, CurveScores]:
    """Score maps by inserting and deleting pixels in the order of their attribution.

    The distinct masked images of all protocols, both curves and all samples pass the model once, on the device of
    ``images``. Which of them share a batch depends on nothing but the arguments, so on a CPU the same call gives
    bitwise the same numbers.

    Args:
        model: classifier of normalised images, returning logits (N, classes); run in evaluation mode without autograd.
        images: (N, C, H, W), normalised.
        maps: (N, H, W), finite; only their order matters.
        targets: (N,) class whose probability is read (the paper reads the ground-truth class).
        protocols: by the name under which their scores are returned.
        batch_size: masked images per forward pass; a :class:`relsplit.networks.batches.BatchSize` also remembers, from
            call to call, that it was halved.
        mean: what the images were normalised with.
        std: what the images were normalised with.

    Returns:
        The scores of each protocol.

    Raises:
        InputError: arguments that do not fit together, or a model whose output is not a probability per class.
    """
    images = checked_images(images)
    maps = checked_maps(maps, images)
    targets = checked_target(targets, len(images), device=images.device)
    if not protocols:
        raise InputError("no protocol to score by: name at least one, such as published")
    sizes = batch_size if isinstance(batch_size, BatchSize) else BatchSize(batch_size)

    settings = list(dict.fromkeys((p.baseline, p.patch) for p in protocols.values()))
    rankings = {patch: rank_pixels(maps, patch) for _, patch in settings}
    substrates = [
        Substrate(rankings[patch].rank, rankings[patch].values.shape[1], baseline_image(images, baseline, mean, std))
        for baseline, patch in settings
    ]
    values = {patch: ranking.values.cpu() for patch, ranking in rankings.items()}
    points = {name: [p.points(row) for row in values[p.patch]] for name, p in protocols.items()}

    blocks = [
        (settings.index((protocol.baseline, protocol.patch)), sample, deletion, points[name][sample].lengths)
        for name, protocol in protocols.items()
        for sample in range(len(images))
        for deletion in (0, 1)
    ]
    requests = np.concatenate([_requests(*block) for block in blocks])
    with evaluation_mode(model):
        scores = _class_probabilities(model, MaskedImages(images, substrates, requests), requests[:, 1], targets, sizes)
    _check_finite(scores, requests[:, 1])

    curves = iter(np.split(scores, np.cumsum([len(lengths) for *_, lengths in blocks])[:-1]))
    return {
        name: _areas([Curve(point.fraction.numpy(), next(curves), next(curves)) for point in points[name]])
        for name in protocols
    }


def _requests(substrate: int, sample: int, deletion: int, lengths: Tensor) -> npt.NDArray[np.int64]:
    rows = np.empty((len(lengths), 4), dtype=np.int64)
    rows[:] = (substrate, sample, deletion, 0)
    rows[:, 3] = lengths.numpy()
    return rows


def _class_probabilities(
    model: nn.Module, masked: MaskedImages, sample: npt.NDArray[np.int64], targets: Tensor, batch_size: BatchSize
) -> npt.NDArray[np.float64]:
    """Probability of each request's class: every item passes the model once and is read once per request."""
    item_of_request = masked.item_of_request
    by_item = np.argsort(item_of_request, kind="stable")
    item = torch.from_numpy(item_of_request[by_item]).to(targets.device)
    target = targets[torch.from_numpy(sample[by_item]).to(targets.device)]
    boundary = np.searchsorted(item_of_request[by_item], np.arange(len(masked) + 1))
    read = []
    for start, stop, probabilities in probabilities_in_batches(model, len(masked), masked.build, batch_size):
        if start == 0 and int(targets.max()) >= probabilities.shape[1]:
            raise InputError(f"target {int(targets.max())} is not one of the model's {probabilities.shape[1]} classes")
        here = slice(boundary[start], boundary[stop])
        read.append(probabilities[item[here] - start, target[here]])
    scores = np.empty(len(by_item), dtype=np.float64)
    scores[by_item] = torch.cat(read).double().cpu().numpy()
    return scores


def _check_finite(scores: npt.NDArray[np.float64], sample: npt.NDArray[np.int64]) -> None:
    wrong = ~np.isfinite(scores)
    if wrong.any():
        raise InputError(
            f"the model's probability for sample {sample[wrong.argmax()]} of the batch is not a number: "
            "check the image and the checkpoint"
        )


def _areas(curves: list[Curve]) -> CurveScores:
    """Trapezoid areas over the x axis."""
    insertion = [_trapezoid(curve.insertion, curve.fraction) for curve in curves]
    deletion = [_trapezoid(curve.deletion, curve.fraction) for curve in curves]
    return CurveScores(
        torch.tensor(insertion, dtype=torch.float64), torch.tensor(deletion, dtype=torch.float64), curves
    )


def _trapezoid(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> float:
    return float(torch.trapezoid(torch.from_numpy(y), torch.from_numpy(x)))
