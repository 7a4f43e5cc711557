"""Class evidence: what every position of the last feature map says for a class and against others.

A contribution is netted over the channels of a position before what is negative is cut off, so that features which
speak for two classes alike cancel out. From there relevance goes on as from any other start.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import dropwhile
from typing import Literal, get_args

import torch
from torch import Tensor

from relsplit.checks import checked_target
from relsplit.errors import InputError
from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.options import Options
from relsplit.lrp.positions import on_grid, same_as_channels, shape_of_map
from relsplit.lrp.recording.cuts import cuts
from relsplit.lrp.recording.network import Recording
from relsplit.lrp.recording.step import SIGMOIDS, SOFTMAXES, Step
from relsplit.lrp.rules.choice import Everywhere
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.quotient import signed_denominator
from relsplit.lrp.splitting.proportional import Proportional
from relsplit.lrp.walk import Watch, walk_back
from relsplit.networks.answer import Answer, Kind
from relsplit.networks.feature_maps import rows_are_channels

Rivals = Literal["rivals", "strongest", "mean", "none"]
Against = Rivals | int | Tensor
"""Which classes evidence speaks against."""
Place = tuple[str, str, int]
_ENDS: dict[Kind, tuple[str, ...]] = {
    "logits": ("_log_softmax",), "probabilities": SOFTMAXES, "multi_label": SIGMOIDS, "probability": SIGMOIDS,
}  # fmt: skip
"""Operations that networks of such an answer end in, and that contributions are not asked to pass."""


@dataclass(frozen=True)
class Evidence:
    """What an image's positions say.

    Attributes:
        contributions: (N, ...) of the shape of the feature map or the tokens, to the difference that is explained.
        place: the operation that made these, its module, and how many such come nearer to the output.
        probability: of the explained class, (N,).
    """

    contributions: Tensor
    place: Place
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


def check_against(against: Against) -> None:
    """Check what evidence is to speak against, as far as it can be without a network.

    Raises:
        InputError: it is a word that says nothing.
    """
    if isinstance(against, str) and against not in get_args(Rivals):
        words = ", ".join(map(repr, get_args(Rivals)))
        raise InputError(f"against: {against!r} is unknown: use one of {words}, a class, or one for each image")


def evidence(recording: Recording, answer: Answer, classes: Tensor, against: Against, size: torch.Size) -> Evidence:
    """Find the last feature map that all relevance passes, and what its positions contribute.

    Contributions are walked back with their signs: in a pooled linear head, and in any of linear layers, batch
    normalisations and ReLUs, they are the values times their gradients. Attention weights, gates and the deviations of
    other normalisations count as constants. Where a network ends in a softmax or a sigmoid, what goes into it counts.

    Args:
        recording: by :func:`with_signs`; it is used up.
        answer: what the network answered in it.
        classes: explained, (N,).
        against: see :class:`relsplit.LRP`.
        size: (H, W) of the images.

    Raises:
        InputError: no feature map is such a place, or see :func:`difference`.
        UnsupportedModelError: an operation without a rule stands in the way.
    """
    first, contributions = _of_scores(recording, answer, classes, against)
    step, tokens = first, None
    places = list(dropwhile(lambda each: each[0] is not first, _places(recording)))
    for number, (cut, place) in enumerate(places):
        if cut is not step:
            (contributions,) = walk_back(step, contributions, [cut], Watch())
        step, found = cut, on_grid(contributions, size)
        here = Evidence(contributions, place, answer.probability(classes))
        if found is not None and contributions.dim() == 4:
            return here if tokens is None or same_as_channels(tokens.contributions, found) else tokens
        # The last block of a transformer hands on the class token alone: its patches say nothing any more.
        if tokens is None and found is not None and bool(found.any()):
            below = (shape_of_map(each.shape, size) for each, _ in places[number + 1 :])
            are_channels = rows_are_channels(step.shape, next(filter(None, below), None), (size[0], size[1]))
            if are_channels is False:
                return here
            tokens = here if are_channels is None else None
    walk_back(step, contributions, [recording.image], Watch())  # what has no rule on the way is said first
    raise InputError(
        'start="evidence": the network has no feature map that all relevance passes before it reaches the pixels: use '
        'start="probability"'
    )


def with_signs(options: Options) -> Options:
    """Return the options of a method by which contributions keep their signs, as gradients do."""
    return replace(
        options,
        rules=Everywhere(Epsilon(0.0)),
        splitting=Proportional(0.0),
        include_identity=True,
        max_pool="winner",
        attention=ATTENTIONS.get("cp_lrp")(),
        by_slope=True,
    )


def place_of(found: Evidence, recording: Recording) -> Step:
    """Return the step of another recording at which ``found`` was found.

    Raises:
        InputError: the network does something else from one call to the next.
    """
    for step, place in _places(recording):
        if place == found.place and step.shape == found.contributions.shape:
            return step
    raise InputError("model: it does something else from one call to the next: no map could show both")


def _places(recording: Recording) -> Iterator[tuple[Step, Place]]:
    """Yield the steps before the images that all relevance passes, the one nearest to the output first."""
    met: Counter[tuple[str, str]] = Counter()
    for step in cuts(recording.result):
        if step is not recording.image:
            what = step.operation, step.path
            yield step, (*what, met[what])
            met[what] += 1


def _of_scores(recording: Recording, answer: Answer, classes: Tensor, against: Against) -> tuple[Step, Tensor]:
    """Return the step of the scores, and what each contributes to the difference: itself times its gradient.

    A score of 0 counts as the smallest number that the walk divides by: what it is made of speaks for and against the
    class as that of any other score does, and times 0 it would be lost.
    """
    step, scores, read = recording.result, recording.output, answer
    end = recording.end()
    if end.given is not None and end.operation in _ENDS.get(answer.kind, ()):
        # What goes into the last nonlinearity: there nothing of a class is rounded away.
        step, scores = end.sources[0], end.given.tensor
        read = replace(answer, kind="logit" if answer.is_single else "logits")
    with torch.enable_grad():
        values = scores.detach().to(torch.promote_types(scores.dtype, torch.float32)).requires_grad_()
        logits = replace(read, output=values.reshape(answer.output.shape)).logits
        score = difference(logits, classes, against, are_exclusive=answer.kind != "multi_label")
        (gradient,) = torch.autograd.grad(score.sum(), values)
    return step, signed_denominator(values.detach(), 0.0) * gradient


def difference(logits: Tensor, classes: Tensor, against: Against, are_exclusive: bool = True) -> Tensor:
    """Return by how much a class leads, (N,), differentiable.

    Args:
        logits: of the network, (N, classes).
        classes: (N,).
        against: "rivals": the logarithm of the odds ``p / (1 - p)``, whose gradient has the direction of that of
            ``log p`` and does not vanish where p is 1; "strongest": the logit less the greatest other; "mean": less
            the mean of all; "none": the logit; or less that of a class.
        are_exclusive: whether the classes exclude each other; else any word means "none".

    Raises:
        InputError: ``against`` is no class, or the explained one.
    """
    own = logits.gather(1, classes[:, None])[:, 0]
    if isinstance(against, str):
        if against == "none" or not are_exclusive:
            return own
        if against == "mean":
            return own - logits.mean(1)
        others = logits.scatter(1, classes[:, None], -torch.inf)
        return own - (others.amax(1) if against == "strongest" else others.logsumexp(1))
    rivals = checked_target(against, len(logits), logits.shape[1], logits.device, option="against")
    same = (rivals == classes).nonzero().flatten()
    if len(same):
        raise InputError(f"against: class {int(rivals[same[0]])} is the explained one: name another")
    return own - logits.gather(1, rivals[:, None])[:, 0]


def _grid(value: Tensor, size: torch.Size) -> Tensor:
    found = on_grid(value, size)
    assert found is not None  # places are chosen by it
    return found
