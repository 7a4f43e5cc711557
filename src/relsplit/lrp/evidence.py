"""Class evidence: what every position of the last feature map says for a class and against others.

A contribution is netted over the channels of a position before what is negative is cut off, so that features which
speak for two classes alike cancel out. From there relevance goes on as from any other start.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from relsplit.checks import checked_target
from relsplit.errors import InputError
from relsplit.lrp.positions import on_grid
from relsplit.lrp.recording.cuts import cuts
from relsplit.lrp.recording.network import Recording
from relsplit.lrp.recording.step import Step
from relsplit.networks.answer import Answer

Rivals = Literal["rivals", "strongest", "mean", "none"]
Against = Rivals | int | Tensor
"""Which classes evidence speaks against."""
Place = tuple[str, str, tuple[int, ...], int]


@dataclass(frozen=True)
class Evidence:
    """What an image's positions say.

    Attributes:
        contributions: (N, ...) of the shape of the value at the place, float32 at least: the value times the gradient
            of the explained difference of logits.
        place: the operation there, its module, the shape of its value, and how many such come nearer to the output.
        probability: of the explained class, (N,).
    """

    contributions: Tensor
    place: "Place"
    probability: Tensor

    def start(self, size: torch.Size, signed: bool) -> tuple[Tensor, Tensor]:
        """Return the relevance at the place, and which images have no position that speaks for the class.

        Args:
            size: (H, W) of the images.
            signed: whether what speaks against the class is negative relevance; else it is left out.

        Returns:
            Of the shape of the contributions: per image it sums to the class's probability, or where it is signed, its
            absolute values do; spread evenly where nothing is left. And (N,) bool.
        """
        parts = _grid(self.contributions, size)
        net = parts.sum(1, keepdim=True)
        if not signed:
            net = net.clamp(min=0)
        total = net.abs().sum((1, 2, 3), keepdim=True)
        void = total == 0
        along = torch.where(net < 0, -parts, parts).clamp(min=0)
        shares = along / along.sum(1, keepdim=True).masked_fill(void | (net == 0), 1)
        share = torch.where(void, 1 / parts[0].numel(), net / total.masked_fill(void, 1) * shares)
        start = torch.zeros_like(self.contributions, memory_format=torch.contiguous_format)
        _grid(start, size).copy_(share * self.probability.reshape(-1, 1, 1, 1))
        return start, void.flatten()


def evidence(recording: Recording, answer: Answer, classes: Tensor, against: Against, size: torch.Size) -> Evidence:
    """Find the last feature map that all relevance passes, and what its positions contribute.

    Args:
        recording: with gradients, of which the values were kept.
        answer: what the network answered in it.
        classes: explained, (N,).
        against: see :class:`relsplit.LRP`.
        size: (H, W) of the images.

    Raises:
        InputError: no feature map is such a place, or see :func:`difference`.
    """
    with torch.enable_grad():
        score = difference(answer, classes, against).sum()
    for step, place in _cuts(recording):
        value = _value(recording, step, size)
        if value is None:
            continue
        (gradient,) = torch.autograd.grad(score, [value], retain_graph=True, materialize_grads=True)
        contributions = value.detach() * gradient
        contributions = contributions.to(torch.promote_types(contributions.dtype, torch.float32))
        # The last block of a transformer hands on the class token alone: its patches say nothing any more.
        if value.dim() == 4 or bool(_grid(contributions, size).any()):
            return Evidence(contributions, place, answer.probability(classes).detach())
    raise InputError(
        'start="evidence": the network has no feature map that all relevance passes before it reaches the pixels: use '
        'start="probability"'
    )


def place_of(recording: Recording, found: Evidence) -> Step:
    """Return the step of another recording of the network at which ``found`` was found.

    Raises:
        InputError: the network does something else there without gradients.
    """
    for step, place in _cuts(recording):
        if place == found.place:
            return step
    raise InputError('start="evidence": the network does something else where gradients are taken')


def difference(answer: Answer, classes: Tensor, against: Against) -> Tensor:
    """Return by how much a class leads, (N,), differentiable.

    Args:
        answer: of the network.
        classes: (N,).
        against: "rivals": the logarithm of the odds ``p / (1 - p)``, whose gradient has the direction of that of
            ``log p`` and does not vanish where p is 1; "strongest": the logit less the greatest other; "mean": less
            the mean of all; "none": the logit; or less that of a class.

    Raises:
        InputError: ``against`` is no class, or the explained one.
    """
    logits = answer.logits
    own = logits.gather(1, classes[:, None])[:, 0]
    if isinstance(against, str):
        if against not in get_args(Rivals):
            raise InputError(f"against: {against!r} is none of {', '.join(get_args(Rivals))}, and no class")
        if against == "none" or answer.kind == "multi_label":  # classes that do not exclude each other
            return own
        if against == "mean":
            return own - logits.mean(1)
        if logits.shape[1] < 2:
            raise InputError(f"against={against}: the network has one class only: use against=none")
        others = logits.masked_fill(_is_of(classes, logits), -torch.inf)
        return own - (others.amax(1) if against == "strongest" else others.logsumexp(1))
    rivals = checked_target(against, len(logits), answer.num_classes, logits.device)
    same = (rivals == classes).nonzero().flatten()
    if len(same):
        raise InputError(f"against: class {int(rivals[same[0]])} is the explained one: name another")
    return own - logits.gather(1, rivals[:, None])[:, 0]


def _is_of(classes: Tensor, logits: Tensor) -> Tensor:
    return torch.arange(logits.shape[1], device=logits.device) == classes[:, None]


def _grid(value: Tensor, size: torch.Size) -> Tensor:
    found = on_grid(value, size)
    assert found is not None  # places are chosen by it
    return found


def _cuts(recording: Recording) -> Iterator[tuple[Step, Place]]:
    """Yield the steps before the images that all relevance passes, the one nearest to the output first."""
    met: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    for step in cuts(recording.result, recording.image):
        if step is not recording.image:
            what = step.operation, step.path, step.shape
            yield step, (*what, met[what])
            met[what] += 1


def _value(recording: Recording, step: Step, size: torch.Size) -> Tensor | None:
    """Return what a step made, if it lies on a grid, and its gradient can be had."""
    value, version = (recording.recorder.values or {}).get(step.index, (None, 0))
    if value is None or len(value) != len(recording.output) or on_grid(value, size) is None:
        return None
    # What was written over since has the gradient of something else.
    return value if value.requires_grad and value._version == version else None
