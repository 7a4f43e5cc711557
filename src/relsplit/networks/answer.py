"""What a network answers, read as what it is: logits, one logit, or probabilities already.

Everything that looks at a network's scores (explainers, metrics, the evaluation) reads them here, so that all of them
agree on the predicted class and on its probability.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from relsplit.checks import checked_target
from relsplit.errors import InputError
from relsplit.networks.described import described
from relsplit.networks.outputs import obvious_part
from relsplit.options import checked_options

Scores = Literal["auto", "logits", "probabilities"]
"""What a network's output holds; ``"auto"`` recognises it."""
Score = Literal["probability", "logit", "one"]
"""What is read of a class: its probability, its logit, or 1 whatever the network says."""
ClassScore = Literal["logit", "probability"]
"""What is read of a class by what differentiates it: 1 has no gradient."""
Kind = Literal["logits", "logit", "probabilities", "multi_label", "probability"]
"""Logits (N, classes); one logit (N, 1) or (N,); probabilities (N, classes) that sum to 1; "multi_label": probabilities
(N, classes) of classes that do not exclude each other; one probability (N, 1) or (N,)."""

_HOW_RECOGNISED: dict[Kind, str] = {
    "probabilities": "rows in [0, 1] that sum to 1",
    "multi_label": "a sigmoid for each class",
    "probability": "one sigmoid",
}


@dataclass(frozen=True)
class Answer:
    """The output of a network, and what its numbers are.

    One logit or one probability is that of class 1, and class 0 is its contrary: there are two classes.

    Attributes:
        output: (N, classes), (N, 1) or (N,), as the network returned it.
        kind: what it holds.
    """

    output: Tensor
    kind: Kind
    _finite: bool | None = None

    @property
    def finite(self) -> bool:
        """Whether it is free of NaN and infinity."""
        return bool(torch.isfinite(self.output).all()) if self._finite is None else self._finite

    @property
    def is_single(self) -> bool:
        """Whether one number speaks for two classes."""
        return self.kind in ("logit", "probability")

    @property
    def num_classes(self) -> int:
        """How many classes can be explained."""
        return 2 if self.is_single else int(self.output.shape[1])

    @property
    def probabilities(self) -> Tensor:
        """(N, classes) in [0, 1], float32 at least; differentiable."""
        values = self._values
        if self.kind == "logits":
            return values.softmax(1)
        if self.kind == "logit":
            # Each its own sigmoid: 1 - p would lose what is left of class 0 to rounding.
            return torch.stack([(-values).sigmoid(), values.sigmoid()], 1)
        return torch.stack([1 - values, values], 1) if self.kind == "probability" else values

    @property
    def logits(self) -> Tensor:
        """(N, classes), float32 at least; differentiable.

        One logit z is -z of class 0 and z of class 1. Probabilities that sum to 1 are the softmax of their logarithms,
        every other probability p is the sigmoid of log(p / (1 - p)).
        """
        values = self._values
        if self.kind == "logits":
            return values
        if self.kind == "probabilities":
            return values.clamp(min=torch.finfo(values.dtype).tiny).log()
        if self.kind == "multi_label":
            return _log_odds(values)
        logit = values if self.kind == "logit" else _log_odds(values)
        return torch.stack([-logit, logit], 1)

    @property
    def predicted(self) -> Tensor:
        """The class with the highest score, (N,) int64."""
        if self.is_single:
            return (self._values > (0 if self.kind == "logit" else 0.5)).long()
        return self.output.argmax(1)

    def probability(self, target: Tensor) -> Tensor:
        """Return the probability (N,) of the classes ``target`` (N,), in [0, 1]."""
        return self.probabilities.gather(1, target[:, None])[:, 0]

    def logit(self, target: Tensor) -> Tensor:
        """Return the logit (N,) of the classes ``target`` (N,)."""
        return self.logits.gather(1, target[:, None])[:, 0]

    def own_score(self, target: Tensor) -> Tensor:
        """Return what the network itself has for the classes ``target`` (N,), (N,): their logits or probabilities."""
        return self.logit(target) if self.kind in ("logits", "logit") else self.probability(target)

    def score(self, target: Tensor, score: Score) -> Tensor:
        """Return what is read of the classes ``target`` (N,), (N,)."""
        if score == "one":
            return torch.ones_like(self._values[:, 0] if not self.is_single else self._values)
        return self.probability(target) if score == "probability" else self.logit(target)

    def start(self, target: Tensor, score: Score) -> Tensor:
        """Return the score of the classes ``target`` (N,) where the output has them, and zero elsewhere.

        Of one logit or probability, both classes lie at the one entry.

        Returns:
            Of the output's shape, float32 at least: half precision would not conserve relevance.
        """
        value = self.score(target, score)
        if self.is_single:
            return value.reshape(self.output.shape)
        return torch.zeros_like(self._values).scatter_(1, target[:, None], value[:, None])

    def classes(self, target: "Tensor | int | None", look_at_classes: bool = True) -> Tensor:
        """Return the explained class of every image, (N,) int64: ``target``, or the predicted class for None.

        Args:
            target: one class, one for each image, or None.
            look_at_classes: see :func:`relsplit.checks.checked_target`.

        Raises:
            InputError: ``target`` is not one existing class per image.
        """
        if target is None:
            return self.predicted
        count, device = len(self.output), self.output.device
        return checked_target(target, count, self.num_classes, device, look_at_classes).clone()

    def like(self, output: object, count: int | None = None) -> "Answer":
        """Return another output of the same network, read in the same way, without a look at its values.

        Args:
            output: what the network returned.
            count: of how many images; None where it is not known.

        Raises:
            InputError: it has another shape.
        """
        scores = checked_scores(output, count)
        if scores.shape[1:] != self.output.shape[1:]:
            raise InputError(
                f"model: it returns {tuple(scores.shape)} for some images and {tuple(self.output.shape)} for others"
            )
        return Answer(scores, self.kind)

    def check_finite(self) -> None:
        """Check what the network answers.

        Raises:
            InputError: it holds NaN or infinity.
        """
        if not self.finite:
            raise InputError("model: it answers with NaN or infinite scores: check its weights and the images")

    @property
    def _values(self) -> Tensor:
        """(N, classes) or (N,), float32 at least."""
        values = self.output.to(torch.promote_types(self.output.dtype, torch.float32))
        return values.reshape(len(values)) if self.is_single else values


@checked_options
class AnswerReader:
    """Reads answers for one explainer or metric, and says once when it takes them for probabilities.

    ``"auto"`` reads rows in [0, 1] that sum to 1 as probabilities. A sigmoid cannot be told from its values, which may
    be small logits by chance, in one image and not in the next: values in [0, 1] are read as sigmoids where the network
    is known to end in one, and as logits everywhere else.

    Args:
        scores: what the network's output holds.
        silent: whether another reader of the same network says it.
    """

    def __init__(self, scores: Scores = "auto", silent: bool = False) -> None:
        self.scores: Scores = scores
        self._warned = silent

    def read(
        self, output: object, count: int | None = None, ends_in_probabilities: "Callable[[], bool] | None" = None
    ) -> Answer:
        """Return what a network answered.

        Args:
            output: what it returned: (N, classes), (N, 1) or (N,).
            count: N; None where it is not known.
            ends_in_probabilities: says whether the network's last step makes probabilities (such as
                :func:`relsplit.networks.ending.ends_in_probabilities`); asked only where the values leave it open.
                None: nothing is known of it.

        Raises:
            InputError: the output is something else, or ``scores="probabilities"`` and it is not in [0, 1].
        """
        scores = checked_scores(output, count)
        finite, in_range, sum_to_one = _facts(scores)
        single = scores.ndim == 1 or scores.shape[1] == 1
        if self.scores == "probabilities" and finite and not in_range:
            low, high = (float(edge) for edge in scores.aminmax())
            raise InputError(
                f"scores=probabilities: the network answers with values from {low:.3g} to {high:.3g}, which are no "
                "probabilities: use scores=logits"
            )
        if self.scores == "probabilities" or (self.scores == "auto" and in_range and sum_to_one and not single):
            are_probabilities = True
        else:
            ends = ends_in_probabilities if self.scores == "auto" and in_range else None
            are_probabilities = ends is not None and ends()
        kind: Kind
        if not are_probabilities:
            kind = "logit" if single else "logits"
        elif single:
            kind = "probability"
        else:
            kind = "probabilities" if sum_to_one else "multi_label"
        if are_probabilities and self.scores == "auto":
            self._say(kind)
        return Answer(scores, kind, finite)

    def _say(self, kind: Kind) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the network's answer is used as probabilities, which it holds already ({_HOW_RECOGNISED[kind]}); "
                'say scores="probabilities" if that is right and scores="logits" if not',
                stacklevel=4,
            )


def reader_of(scores: "Scores | AnswerReader") -> AnswerReader:
    """Return the reader that is given, or one that reads as ``scores`` says."""
    return scores if isinstance(scores, AnswerReader) else AnswerReader(scores)


def checked_scores(output: object, count: int | None = None) -> Tensor:
    """Return what a network returned, or the obvious part of that, if it can be read as scores of ``count`` images.

    Raises:
        InputError: it is no floating point tensor (count, classes), (count, 1) or (count,).
    """
    scores = obvious_part(output)
    if (
        not isinstance(scores, Tensor)
        or not scores.is_floating_point()
        or scores.layout != torch.strided
        or scores.ndim not in (1, 2)
        or scores.numel() == 0
        or (count is not None and len(scores) != count)
    ):
        images = "N" if count is None else count
        raise InputError(
            f"model: it must return logits or probabilities ({images}, classes), or one for two classes, ({images}, 1) "
            f"or ({images},), not {described(output)}"
        )
    return scores


def is_same(found: object, expected: object) -> bool:
    """Say whether two outputs are the same but for the order of sums in float32, and for what half precision rounds.

    A logit near 0 is what is left of large numbers: differences that no probability would show do not count.
    """
    if not isinstance(found, Tensor) or not isinstance(expected, Tensor) or found.shape != expected.shape:
        return False
    relative = {torch.float64: 1e-9, torch.float32: 1e-4}.get(expected.dtype, 5e-2)
    smallest = min(1e3 * torch.finfo(expected.dtype).eps, 5e-2)
    limit = relative * float(expected.abs().max()) + smallest
    return torch.allclose(found.detach(), expected, rtol=0, atol=limit, equal_nan=True)


def _facts(scores: Tensor) -> tuple[bool, bool, bool]:
    """Whether all is finite, in [0, 1], and of sum 1 in every row; read at once, because a GPU has to be waited for."""
    values = scores.detach().reshape(len(scores), -1)
    tolerance = max(1e-5, torch.finfo(values.dtype).eps)
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    facts = [
        torch.isfinite(values).all(),
        ((values >= 0) & (values <= 1 + tolerance)).all(),
        ((values.sum(1) - 1).abs() <= tolerance).all(),
    ]
    finite, in_range, sum_to_one = torch.stack(facts).tolist()
    return finite, in_range, sum_to_one


def _log_odds(probabilities: Tensor) -> Tensor:
    return torch.logit(probabilities, eps=torch.finfo(probabilities.dtype).eps)
