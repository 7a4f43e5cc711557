"""GAE of a batch of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.checks import checked_batch, checked_target, finite_maps
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import Explain
from relsplit.metrics.gae.masking import MaskedStates, masked_states, network_digest, shared_states
from relsplit.metrics.gae.protocol import IMAGES, PROTOCOLS, STATES, Name, Protocol
from relsplit.metrics.image_generator import image_generator
from relsplit.metrics.mosaic import tiled
from relsplit.networks.answer import Answer, AnswerReader, Scores, reader_of
from relsplit.networks.ending import ends_in_probabilities
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.part_of import PartOf
from relsplit.networks.views import shared_copy
from relsplit.options import Count, Seed, checked_options


@dataclass(frozen=True)
class GAEScores:
    """Scores of M mosaics.

    Attributes:
        positives: (M,) int64, the image of the batch that each mosaic's scores belong to.
        faithfulness: (M,) float64 in [-1, 1] (under "released" up to 3 for maps of one channel).
        robustness: (M,) float64 in [-1, 1].
        contrastiveness: (M,) float64 in [0, 1] (under "released" without bounds).
    """

    positives: Tensor
    faithfulness: Tensor
    robustness: Tensor
    contrastiveness: Tensor

    @property
    def local_consistency(self) -> Tensor:
        """(M,) half of faithfulness + robustness, at least 0."""
        return (self.faithfulness + self.robustness).clamp(min=0) / 2

    @property
    def gae(self) -> Tensor:
        """(M,) local consistency times contrastiveness."""
        return self.local_consistency * self.contrastiveness


@checked_options
def global_attribution_evaluation(
    model: nn.Module,
    explain: Explain,
    images: Tensor,
    labels: Tensor,
    *,
    protocol: Name = "strict",
    batch_size: Count = IMAGES,
    seed: Seed = 42,
    cache_dir: str | Path | None = None,
    scores: Scores | AnswerReader = "auto",
    output: "OutputChoice | None" = None,
) -> GAEScores:
    """Score a method by Global Attribution Evaluation (Vukadin et al. 2024, as in its released code).

    Four images at half size make a mosaic; one of the four, the positive, is drawn with the probability that the
    network gives to its predicted class c in the mosaic. The positive at full size is masked step by step in the order
    of its own gradients, least and most relevant entries first. With R the positive part of a map, divided by its
    maximum, and dice(a, b) = sum |a - b| / (sum |a| + sum |b|):

    - faithfulness: mean of I under R, where I is 1 at entries that keep their importance when the least relevant ones
      go first, and -1 at the others;
    - robustness: 1 - 2 dice(change of R, change of the output) over the masked states;
    - contrastiveness: mean under the mosaic's R for class c of S, which is 1 on the positive and, on the others,
      2 p(class of the other) / p(c) - 1, where p is the network's answer to the positive at full size; at least 0.

    Args:
        model: classifier of normalised images; as it is now.
        explain: computes maps (N, H, W), of the places, or, for "released", attributions (N, C, H, W) of images for
            classes.
        images: (N, 3, H, W) with even sides, or volumes (N, C, D, H, W), or signals (N, C, L); four or more. Images
            beyond the last multiple of ``batch_size`` are not looked at.
        labels: (N,) ground truth; looked at under "released" alone.
        protocol: "strict", or "released": with the defects of the released code.
        batch_size: images that are grouped together, a multiple of four; it decides numbers under "released" alone,
            which is right for 4 only.
        seed: of the draw of the positives, which follow from the mosaics' own content (unseeded in the released code).
        cache_dir: where the masked states are kept, which all methods share; None: nowhere.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.
        output: which part of it is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: fewer than four images, an odd side, or a ``batch_size`` that is no multiple of four.
    """
    images = checked_batch(images, "images")
    if not images.is_floating_point() or images.dim() not in (3, 4, 5):
        raise InputError(
            "GAE makes mosaics of images (N, C, H, W), signals (N, C, L) or volumes (N, C, D, H, W), not of "
            f"{tuple(images.shape)}, {images.dtype}"
        )
    labels = checked_target(labels, len(images), device=images.device, option="labels")
    if batch_size % IMAGES:
        raise InputError(f"batch_size={batch_size}: GAE makes mosaics of four images: give a multiple of 4")
    if len(images) < batch_size:
        raise InputError(
            f"GAE puts {batch_size} images together, but there are {len(images)}: give more images"
            + (", or a smaller batch_size" if batch_size > IMAGES else "")
        )
    if images.dim() == 3 and images.shape[2] % IMAGES:
        raise InputError(f"GAE quarters signals, so their length must be a multiple of 4, not {images.shape[2]}")
    if images.dim() > 3 and (images.shape[-2] % 2 or images.shape[-1] % 2):
        raise InputError(f"GAE halves images, so both sides must be even, not {tuple(images.shape[-2:])}")
    with torch.inference_mode(False), torch.no_grad():
        images, labels = images.clone(), labels.clone()
        network = model if output is None else PartOf(model, output)
        judge = _Judge(network, explain, PROTOCOLS[protocol], protocol, seed, cache_dir, reader_of(scores))
        parts = [
            judge.score(images[start : start + batch_size], labels[start : start + batch_size], start)
            for start in range(0, len(images) - batch_size + 1, batch_size)
        ]
    rows = torch.tensor([row for part in parts for row in part], dtype=torch.float64)
    return GAEScores(rows[:, 0].long(), rows[:, 1], rows[:, 2], rows[:, 3])


def mosaic(images: Tensor) -> Tensor:
    """Return four images (4, C, H, W) at half size as one (C, H, W): top left, top right, bottom left, bottom right.

    Volumes (4, C, D, H, W) keep their depth; signals (4, C, L), at a quarter of their length, come one after another.
    """
    if images.dim() == 3:
        return torch.cat(list(F.interpolate(images, size=images.shape[2] // IMAGES, mode="nearest")), -1)
    *depth, height, width = images.shape[2:]
    return tiled(F.interpolate(images, size=(*depth, height // 2, width // 2), mode="nearest"))


def positive_part(maps: Tensor) -> Tensor:
    """Return maps (N, ...) without negative values, divided by their maximum; zeros where nothing is positive."""
    positive = maps.double().clamp(min=0)
    highest = positive.flatten(1).amax(1).view(-1, *[1] * (maps.ndim - 1))
    return torch.where(highest > 0, positive / highest, torch.zeros_like(positive))


def dice(a: Tensor, b: Tensor) -> Tensor:
    """Return sum |a - b| / (sum |a| + sum |b|) over all but the first dimension, in [0, 1]."""
    a, b = a.flatten(1), b.flatten(1)
    return (a - b).abs().sum(1) / (a.abs().sum(1) + b.abs().sum(1) + 1e-9)


class _Judge:
    """Scores a method's maps of one network."""

    def __init__(
        self,
        model: nn.Module,
        explain: Explain,
        protocol: Protocol,
        name: str,
        seed: int,
        cache_dir: str | Path | None,
        reader: AnswerReader,
    ) -> None:
        self.network = shared_copy(model, keep_in_place=True)
        self.reader = reader
        self.explain = explain
        self.protocol = protocol
        self.name = name
        self.seed = seed
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.digest = "" if cache_dir is None else network_digest(model)

    def score(self, images: Tensor, labels: Tensor, start: int) -> list[tuple[int, float, float, float]]:
        """Positive (counted from ``start``), faithfulness, robustness, contrastiveness of every mosaic."""
        answer = self._answer(images)
        probabilities, predicted = answer.probabilities, answer.predicted
        classes = predicted if self.protocol.predicted else labels
        shown, candidates = self.protocol.shown(len(images)), self.protocol.candidates(len(images))
        mosaics = torch.stack([mosaic(images[four]) for four in shown])
        among = answer.like(self.network(mosaics.clone()).double()).probabilities
        positives, contrast = [], torch.empty(len(images), dtype=torch.float64)
        for picture, chances, four in zip(mosaics, among, candidates, strict=True):
            generator = image_generator(picture, self.seed)
            drawn = torch.multinomial(chances[predicted[four]].cpu(), 1, generator=generator)
            positive = four[int(drawn)]
            positives.append(positive)
            seen = probabilities[positive]
            contrast[four] = (2 * seen[classes[four]] / seen[classes[positive]] - 1).cpu()
        if self.protocol.predicted:
            contrast = contrast.clamp(-1, 1)
        maps = positive_part(self._maps(mosaics, predicted[positives]))
        rows = []
        for place, positive in enumerate(positives):
            target = int(predicted[positive])
            states = self._states(answer, positive, images[positive], target)
            faithfulness, robustness = self._local(images[positive], target, states)
            s = self.protocol.reference(contrast[shown[place]].tolist(), *images.shape[2:]).to(maps.device)
            s = s if self.protocol.pixelwise else s.expand(images.shape[1:])
            contrastiveness = max(0.0, float((s * maps[place]).sum() / (maps[place].sum() + 1e-9)))
            rows.append((start + positive, faithfulness, robustness, contrastiveness))
        return rows

    def _answer(self, images: Tensor) -> Answer:
        output = self.network(images.clone())
        read = self.reader.read(output, len(images), lambda: ends_in_probabilities(self.network, images[:1]))
        return read.like(read.output.double())

    def _states(self, answer: Answer, index: int, image: Tensor, target: int) -> MaskedStates:
        def compute() -> MaskedStates:
            return masked_states(self.network, image, target, self.protocol, answer)

        # What the network answers tells apart what its weights do not: attributes, hooks, exchanged modules.
        answered = (answer.kind, *answer.output[index].flatten().tolist())
        return shared_states(compute, self.cache_dir, self.digest, image, target, self.name, answered)

    def _local(self, image: Tensor, target: int, states: MaskedStates) -> tuple[float, float]:
        masked = torch.cat([image[None], states.images(image, "morf"), states.images(image, "lerf")])
        targets = torch.full((len(masked),), target, dtype=torch.int64, device=image.device)
        maps = positive_part(torch.cat([self._maps(*part) for part in _parts(masked, targets)])).cpu()
        whole, morf, lerf = maps[:1], maps[1:STATES], maps[STATES:]
        importance = states.importance[0] if self.protocol.pixelwise else states.importance
        faithfulness = float((importance * whole[0]).sum() / (whole.sum() + 1e-9))
        change = dice(whole.expand_as(morf), morf) - dice(whole.expand_as(lerf), lerf)
        gone = (states.outputs[1, 1:] - states.outputs[0, 1:]) / (states.outputs[0, 0] + 1e-9)
        return faithfulness, 1 - 2 * float(dice(change[None], gone[None]))

    def _maps(self, images: Tensor, targets: Tensor) -> Tensor:
        """(N, H, W), or as "released" (N, C, H, W); a map of one channel stays one and is broadcast."""
        with torch.enable_grad():  # explainers differentiate
            maps = finite_maps(self.explain(images, targets))
        places = images.shape[2:]
        if maps.shape[-len(places) :] != places or maps.ndim not in (images.ndim - 1, images.ndim):
            raise InputError(f"maps of shape {tuple(maps.shape)} for images {tuple(images.shape)}: resize them first")
        if self.protocol.pixelwise:
            return maps.sum(1) if maps.ndim == images.ndim else maps
        return maps if maps.ndim == images.ndim else maps.unsqueeze(1)


def _parts(images: Tensor, targets: Tensor, size: int = 8) -> Sequence[tuple[Tensor, Tensor]]:
    return list(zip(images.split(size), targets.split(size), strict=True))
