"""Insertion and deletion curves of a batch of samples, under several protocols at once, in one stream of forwards."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relsplit.baseline import Baseline, BaselineImage
from relsplit.checks import checked_images, checked_maps
from relsplit.errors import InputError
from relsplit.metrics.image_generator import image_generator
from relsplit.metrics.insertion_deletion.masked_images import MaskedImages, Substrate
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints, Protocol, is_always_whole
from relsplit.metrics.insertion_deletion.ranking import rank_pixels
from relsplit.metrics.insertion_deletion.refinement import Checks, RefinedCurve, Tolerance
from relsplit.metrics.laid_out import laid_out
from relsplit.metrics.order import ordered
from relsplit.networks.answer import AnswerReader, Scores, reader_of
from relsplit.networks.batches import BatchSize, evaluating
from relsplit.networks.explained_values import explained_values, values_in_batches
from relsplit.networks.inference_copy import half_precision
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Positive, Seed, checked_options
from relsplit.targets.target import Target, opened

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Curve(NamedTuple):
    """One sample's curves over P points.

    Attributes:
        fraction: (P,) float64, position on the x axis, in [0, 1].
        insertion: (P,) float64, the class's probability, in [0, 1], or the value of another target, in its own units;
            NaN where a refined curve was not evaluated.
        deletion: the same.
    """

    fraction: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]
    deletion: npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurveScores:
    """One protocol's scores of N samples.

    The x axis has length 1, so an area is a mean of what is read: of a class in [0, 1]; of another target (a logit, a
    sum over places) in units of its value, as it is.

    Attributes:
        insertion: (N,) float64 on the CPU, area under the insertion curve; of a refined curve an estimate.
        deletion: (N,) float64 on the CPU, area under the deletion curve; of a refined curve an estimate.
        curves: N curves that the areas were taken from.
        checks: N samples' checks, from which :func:`relsplit.metrics.insertion_deletion.refinement.error_bound` bounds
            the error of the mean estimate; None where every point was evaluated.
    """

    insertion: Tensor
    deletion: Tensor
    curves: list[Curve]
    checks: list[Checks] | None = None

    @property
    def id_score(self) -> Tensor:
        """Insertion minus deletion, (N,); of probabilities in [-1, 1]."""
        return self.insertion - self.deletion


@checked_options
def score_curves(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: "Target | None",
    protocols: Mapping[str, Protocol],
    *,
    batch_size: int | BatchSize = 32,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[Positive] = IMAGENET_STD,
    tolerance: Tolerance | None = None,
    seed: Seed = 42,
    scores: Scores | AnswerReader = "auto",
    forward_kwargs: "Mapping[str, Any] | None" = None,
    output: "OutputChoice | None" = None,
) -> dict[str, CurveScores]:
    """Score maps by inserting and deleting pixels in the order of their attribution.

    The distinct masked images of all protocols, both curves and all samples pass the model once, on the device of
    ``images``. Which of them share a batch depends on nothing but the arguments, so on a CPU the same call gives
    bitwise the same numbers.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import score_curves
        >>> from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> images, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 3])
        >>> maps = LRP(model).attribute(images, targets).sum(1)
        >>> tuple(score_curves(model, images, maps, targets, {"strict": Strict()})["strict"].id_score.shape)
        (2,)

    Args:
        model: network of normalised images; a copy of it as it is now is run, in evaluation mode, without autograd.
        images: (N, C, H, W), normalised; or signals (N, C, L), volumes (N, C, D, H, W), tables (N, F) or tokens (N, T).
        maps: (N, H, W), (N, L), (N, D, H, W), (N, F) or (N, T), finite; only their order matters.
        targets: (N,) class whose probability is read (the paper reads the ground-truth class), None for the predicted
            one, or a target of :mod:`relsplit.targets`, whose value is read.
        protocols: by the name under which their scores are returned.
        batch_size: masked images per forward pass; a :class:`relsplit.networks.batches.BatchSize` also remembers, from
            call to call, that it was halved.
        mean: what the images were normalised with.
        std: what the images were normalised with.
        tolerance: evaluate the curves where they change and estimate the rest, as
            :class:`relsplit.metrics.insertion_deletion.refinement.RefinedCurve` says, unless the protocol is
            ``always_whole``; None evaluates every point.
        seed: of the points that ``tolerance`` lets be drawn at random; they follow from it and the image's content.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.
        forward_kwargs: what the network gets besides, by name; what is of single samples stays with them.
        output: which part of what the network returns is explained, see :class:`relsplit.LRP`.

    Returns:
        The scores of each protocol.

    Raises:
        InputError: arguments that do not fit together, a model whose output is not what the target is of, or a
            ``tolerance`` for a target that is no class.
    """
    (method,) = score_methods(
        model, images, [maps], [targets], protocols,
        batch_size=batch_size, mean=mean, std=std, tolerance=tolerance, seed=seed, scores=scores,
        forward_kwargs=forward_kwargs, output=output,
    )  # fmt: skip
    return method


@checked_options
def score_methods(
    model: nn.Module,
    images: Tensor,
    maps: Sequence[Tensor],
    targets: "Sequence[Target | None]",
    protocols: Mapping[str, Protocol],
    *,
    batch_size: int | BatchSize = 32,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[Positive] = IMAGENET_STD,
    tolerance: Tolerance | None = None,
    seed: Seed = 42,
    scores: Scores | AnswerReader = "auto",
    forward_kwargs: "Mapping[str, Any] | None" = None,
    output: "OutputChoice | None" = None,
) -> list[dict[str, CurveScores]]:
    """Score the maps of several methods on the same images as :func:`score_curves` does those of one.

    What their curves have in common passes the model once: the full image, the bare baseline, and every set of pixels
    that several methods show or take away.

    Args:
        model: see :func:`score_curves`, and so for all that is not named here.
        images: (N, C, H, W), normalised.
        maps: of each method, (N, H, W).
        targets: for each method.
        protocols: by name.
        batch_size: masked images per forward pass.
        mean: what the images were normalised with.
        std: what the images were normalised with.
        tolerance: of curves that are refined.
        seed: of the points that are drawn.
        scores: what the network's output holds.
        forward_kwargs: what the network gets besides.
        output: which part of what it returns is explained.

    Returns:
        For each method the scores of each protocol.

    Raises:
        InputError: as :func:`score_curves`.
    """
    laid = laid_out(model, images, maps, forward_kwargs, any(each.patch != 1 for each in protocols.values()))
    model, images, maps = laid.model, checked_images(laid.images), laid.maps
    if not maps or len(maps) != len(targets):
        raise InputError(
            f"maps of {len(maps)} methods and targets for {len(targets)}: give both for at least one method"
        )
    count = len(images)
    # The maps of all methods lie behind each other: row r is of image r % count.
    rows = torch.cat([checked_maps(ordered(each), images) for each in maps])
    if tolerance is not None and any(callable(opened(target)[1]) for target in targets):
        raise InputError(
            "tolerance: it is of curves of probabilities, in [0, 1], and a target that is no class has other values: "
            "leave it out"
        )
    if not protocols:
        raise InputError("no protocol to score by: name at least one, such as published")
    sizes = batch_size if isinstance(batch_size, BatchSize) else BatchSize(batch_size)

    settings: list[tuple[Baseline, int]] = []
    for protocol in protocols.values():
        if (protocol.baseline, protocol.patch) not in settings:
            settings.append((protocol.baseline, protocol.patch))
    rankings = {patch: rank_pixels(rows, patch) for _, patch in settings}
    substrates = [
        Substrate(
            rankings[patch].rank, rankings[patch].values.shape[1], laid.baseline(BaselineImage(baseline, mean, std))
        )
        for baseline, patch in settings
    ]
    values = {patch: ranking.values.cpu() for patch, ranking in rankings.items()}
    points = {name: [p.points(row) for row in values[p.patch]] for name, p in protocols.items()}

    blocks = [
        (settings.index((protocol.baseline, protocol.patch)), row, deletion, points[name][row].lengths)
        for name, protocol in protocols.items()
        for row in range(len(rows))
        for deletion in (0, 1)
    ]
    tolerances = {name: None if is_always_whole(protocol) else tolerance for name, protocol in protocols.items()}
    curves = [
        curve
        for name in protocols
        for row, point in enumerate(points[name])
        for curve in _both_curves(laid.content[row % count], point, tolerances[name], seed)
    ]
    half, reader = half_precision(model), reader_of(scores)
    with evaluating(model) as network:
        explained = [explained_values(network, images, target, reader, output, sizes) for target in targets]

        def read(requests: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            masked = MaskedImages(images, substrates, requests, half)
            item, row = masked.item_of_request, requests[:, 1]
            return values_in_batches(network, len(masked), masked.build, sizes, explained, item, row, count)

        _evaluate(curves, blocks, read)
    done = iter(curves)
    pairs = {name: [[(next(done), next(done)) for _ in images] for _ in maps] for name in protocols}
    return [{name: _scores(pairs[name][method], tolerances[name]) for name in protocols} for method in range(len(maps))]


def _both_curves(content: Tensor, points: CurvePoints, tolerance: float | None, seed: int) -> list[RefinedCurve]:
    """The insertion and the deletion curve of one sample, not evaluated yet."""
    fraction = points.fraction.numpy()
    if tolerance is None:
        return [RefinedCurve(fraction, fraction, None) for _ in range(2)]  # nothing is drawn
    draws = torch.rand(2, len(fraction), dtype=torch.float64, generator=image_generator(content, seed))
    return [RefinedCurve(fraction, row, tolerance) for row in draws.numpy()]


def _evaluate(
    curves: Sequence[RefinedCurve],
    blocks: Sequence[tuple[int, int, int, Tensor]],
    read: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]],
) -> None:
    """Evaluate all curves in rounds, whose requests share forward passes; no masked image passes the model twice."""
    known: dict[tuple[int, ...], float] = {}
    while waiting := [(curve, block) for curve, block in zip(curves, blocks, strict=True) if len(curve.wanted)]:
        wanted = [_requests(*block[:3], block[3][torch.from_numpy(curve.wanted)]) for curve, block in waiting]
        requests = np.concatenate(wanted)
        keys = [tuple(row) for row in requests.tolist()]
        new = np.array([key not in known for key in keys])
        if new.any():
            known.update(zip(itertools.compress(keys, new), read(requests[new]).tolist(), strict=True))
        found = iter(np.split([known[key] for key in keys], np.cumsum([len(rows) for rows in wanted])[:-1]))
        for curve, _ in waiting:
            curve.take(next(found))


def _requests(substrate: int, row: int, deletion: int, lengths: Tensor) -> npt.NDArray[np.int64]:
    found = np.empty((len(lengths), 4), dtype=np.int64)
    found[:] = (substrate, row, deletion, 0)
    found[:, 3] = lengths.numpy()
    return found


def _scores(curves: Sequence[tuple[RefinedCurve, RefinedCurve]], tolerance: float | None) -> CurveScores:
    """Areas of the samples' insertion and deletion curves."""
    insertion, deletion = ([pair[which].area() for pair in curves] for which in (0, 1))
    return CurveScores(
        torch.tensor(insertion, dtype=torch.float64),
        torch.tensor(deletion, dtype=torch.float64),
        [Curve(first.fraction, first.probability, second.probability) for first, second in curves],
        None if tolerance is None else [Checks(first.checks(), second.checks()) for first, second in curves],
    )
