"""What is kept and what is lost on relevance's way: sums at named places, and a ledger of every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, fx

from relsplit.lrp.graph.tracing import describe
from relsplit.lrp.operations.operation import Passed
from relsplit.lrp.program import Program

TOLERATED = 1e-4
"""Share of the start that may be missing or too much before somebody is told."""


class Observer(Protocol):
    """Sees relevance on its way back."""

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """Take note of what has arrived at a node and what it passes on; the image comes last and passes on nothing."""


class Sums:
    """Relevance sums at the places of a program, (N,) each, in the order of the forward pass.

    A place where the images are not the first dimension (tokens first, windows) is left out.
    """

    def __init__(self, program: Program, start: Tensor) -> None:
        self._places = program.places
        self._count = len(start)
        self._found: dict[str, Tensor] = {}

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """Take note of the relevance that has arrived at a node."""
        for name in self._places.get(node, ()) if len(relevance) == self._count else ():
            self._found[name] = relevance.flatten(1).sum(1)

    def by_name(self) -> dict[str, Tensor]:
        """Return the sums from the image to the output."""
        return dict(reversed(self._found.items()))


@dataclass(frozen=True)
class Leak:
    """A step that passes on less or more than it received.

    Attributes:
        where: the node and its module.
        share: what is missing (negative: too much), as a share of the start; of the image where it is greatest, or of
            all images together where they are not the first dimension.
    """

    where: str
    share: float


class Ledger:
    """What every step received and passed on."""

    def __init__(self, program: Program, start: Tensor) -> None:
        self._sums = Sums(program, start)
        self._start = start.double().flatten(1).sum(1)
        self.leaks: list[Leak] = []
        """The one nearest to the output first."""

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """Take note of what has arrived at a node and what it passes on; the image keeps all."""
        self._sums.visit(node, relevance, passed)
        if node.op == "placeholder":
            return
        parts = [relevance, *(-part for _, part in passed)]
        if all(len(part) == len(self._start) for part in parts):
            shares = sum(part.double().flatten(1).sum(1) for part in parts) / self._start
        else:
            shares = sum(part.double().sum().reshape(1) for part in parts) / self._start.sum()
        worst = float(shares[shares.abs().argmax()])
        if abs(worst) > TOLERATED / 10:
            self.leaks.append(Leak(describe(node), worst))

    def conservation(self, forwards: float) -> "Conservation":
        """Return all that was seen; ``forwards`` is the cost of a map."""
        sums = self._sums.by_name()
        return Conservation(sums, self.leaks, relative_gap(self._start, sums["input"]), forwards)


@dataclass(frozen=True)
class Conservation:
    """How well relevance is conserved on the way through a network, :meth:`relsplit.LRP.check`.

    Attributes:
        sums: relevance at the input, at the input of every residual block, and at the output, (N,) each.
        leaks: the steps that lose or add relevance, the one nearest to the output first.
        gap: greatest difference between the map's sum and the start, as a share of the start.
        forwards: how many forward passes the map costs, by time.
    """

    sums: Mapping[str, Tensor]
    leaks: list[Leak]
    gap: float
    forwards: float

    def __str__(self) -> str:
        start = self.sums["output"]
        width = max(len(name) for name in self.sums)
        lines = [f"{'place':<{width}}  relevance, share of the start (mean, lowest, highest image)"]
        for name, values in reversed(list(self.sums.items())):
            share = values.double() / start.double()
            lines.append(f"{name:<{width}}  {share.mean():.6f}  {share.min():.6f}  {share.max():.6f}")
        lines.append(f"gap at the input: {self.gap:.1e} of the start; cost: {self.forwards:.1f} forward passes")
        for leak in self.leaks[:5]:
            lines.append(f"{'lost' if leak.share > 0 else 'added'} {abs(leak.share):.2%} at {leak.where}")
        return "\n".join(lines)


def relative_gap(start: Tensor, total: Tensor) -> float:
    """Return the greatest ``|total - start| / |start|`` over images, both (N,); images that start from 0 count not."""
    start, total = start.double(), total.double()
    shares = ((total - start) / start).abs()[start != 0]
    return float(shares.max()) if len(shares) else 0.0
