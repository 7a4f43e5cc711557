"""What is kept and what is lost on relevance's way: sums at named places, and a ledger of every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from relsplit.lrp.recording.network import INPUT, Recording
from relsplit.lrp.recording.step import Passed, Step
from relsplit.lrp.walk import is_per_image, per_image

TOLERATED = 1e-4
"""Share of the start that may be missing or too much before somebody is told."""


class Observer(Protocol):
    """Sees relevance on its way back."""

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """Take note of what has arrived at a step and what it passes on; the input comes last and passes on nothing."""


class Sums:
    """Relevance sums at the places of a network, (N,) each, in the order of the forward pass.

    A place where the images are not the first dimension (tokens first, windows) is left out.
    """

    def __init__(self, recording: Recording, start: Tensor) -> None:
        self._places = recording.places()
        self._count = len(start)
        self._found: dict[str, Tensor] = {}

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """Take note of the relevance that has arrived at a step."""
        if step.is_inside or not is_per_image(relevance, self._count):
            return
        for name in self._places.get(step.index, ()):
            here = relevance.reshape(len(relevance), -1).sum(1)
            several = name == INPUT and name in self._found
            self._found[name] = self._found[name] + here if several else here

    def by_name(self) -> dict[str, Tensor]:
        """Return the sums from the image to the output."""
        return dict(reversed(self._found.items()))


@dataclass(frozen=True)
class Leak:
    """A step that passes on less or more than it received.

    Attributes:
        where: the operation and its module.
        share: what is missing (negative: too much), as a share of the start; of the image where it is greatest, or of
            all images together where they are not the first dimension.
        promised: whether the step promises to conserve relevance.
    """

    where: str
    share: float
    promised: bool


class Ledger:
    """What every step received and passed on."""

    def __init__(self, recording: Recording, start: Tensor) -> None:
        self._sums = Sums(recording, start)
        self._start = per_image(start)
        self._scale = per_image(start.abs())
        self.leaks: list[Leak] = []
        """The one nearest to the output first."""

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """Take note of what has arrived at a step and what it passes on; the input keeps all."""
        self._sums.visit(step, relevance, passed)
        if step.is_input or step.is_inside:
            return
        parts = [relevance, *(-part for _, part in passed)]
        if all(is_per_image(part, len(self._start)) for part in parts):
            missing = torch.stack([per_image(part) for part in parts]).sum(0)
            shares = share_of(missing, self._scale)
        else:
            missing = torch.stack([part.double().sum() for part in parts]).sum(0, keepdim=True)
            shares = share_of(missing, self._scale.sum().reshape(1))
        worst = float(shares[shares.abs().argmax()])
        if not abs(worst) <= TOLERATED / 10:  # NaN is no small number
            self.leaks.append(Leak(str(step), worst, step.promises))

    def conservation(self, forwards: float) -> "Conservation":
        """Return all that was seen; ``forwards`` is the cost of a map."""
        sums = self._sums.by_name()
        gap = share_of(sums["input"].double() - self._start, self._scale).abs().amax()
        return Conservation(sums, self.leaks, float(gap), forwards, self._scale)


@dataclass(frozen=True)
class Conservation:
    """How well relevance is conserved on the way through a network, :meth:`relsplit.LRP.check`.

    Attributes:
        sums: relevance at the input, at the input of every residual block, and at the output, (N,) each.
        leaks: the steps that lose or add relevance, the one nearest to the output first.
        gap: greatest difference between the map's sum and the start's, as a share of the start's magnitude.
        forwards: how many forward passes the map costs, by time.
        scale: the start's magnitude, (N,): the sum of its absolute values, of which relevance is a share in the table.
    """

    sums: Mapping[str, Tensor]
    leaks: list[Leak]
    gap: float
    forwards: float
    scale: Tensor

    def __str__(self) -> str:
        width = max(len(name) for name in self.sums)
        lines = [f"{'place':<{width}}  relevance, share of the start (mean, lowest, highest image)"]
        for name, values in reversed(list(self.sums.items())):
            share = share_of(values.double(), self.scale)
            lines.append(f"{name:<{width}}  {share.mean():.6f}  {share.min():.6f}  {share.max():.6f}")
        lines.append(f"gap at the input: {self.gap:.1e} of the start; cost: {self.forwards:.1f} forward passes")
        for leak in self.leaks[:5]:
            lines.append(f"{'lost' if leak.share > 0 else 'added'} {abs(leak.share):.2%} at {leak.where}")
        return "\n".join(lines)


def share_of(relevance: Tensor, scale: Tensor) -> Tensor:
    """Return relevance (N,) as shares of the start's magnitude ``scale`` (N,); of nothing, nothing is missing."""
    return relevance / scale.masked_fill(scale == 0, 1)
