"""One network with what is explained of it, and what is measured then."""

import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.networks.outputs import OutputChoice

SPLITTINGS = ("ratio", "symmetric")
HEADER = ("network", "input", "explained", "gap", "forwards", "remark")
TOLERATED = 1e-5


@dataclass(frozen=True)
class Case:
    """A network and its input.

    Attributes:
        network: with random weights.
        given: a tensor, or several by name.
        explained: what ``target`` is, in words.
        target: of ``LRP.attribute``.
        output: of ``LRP``.
        forward_kwargs: of ``LRP.attribute``.
        rounds: in which a map is timed beside a forward pass.
    """

    network: nn.Module
    given: Tensor | Mapping[str, Tensor]
    explained: str
    target: Any = None
    output: OutputChoice | None = None
    forward_kwargs: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 3

    def shapes(self) -> str:
        """The sizes of what is given, without the batch."""
        named = self.given.items() if isinstance(self.given, Mapping) else [("", self.given)]
        return ", ".join(f"{name} {_size(each)}".strip() for name, each in named)

    def forward(self) -> Any:
        """The network's own pass."""
        if isinstance(self.given, Mapping):
            return self.network(**self.given, **self.forward_kwargs)
        return self.network(self.given, **self.forward_kwargs)


def _size(given: Tensor) -> str:
    size = "×".join(map(str, given.shape[1:]))
    return size if given.is_floating_point() else f"{size} tokens"


@dataclass(frozen=True)
class Family:
    """A section of the list.

    Attributes:
        title: its heading.
        about: what is true of all its networks.
        names: of them.
        cases: one network at the sizes that it takes, by its name; the first is timed.
        packages: whose versions matter.
    """

    title: str
    about: str
    names: Sequence[str]
    cases: Callable[[str], Iterable[Case]]
    packages: tuple[str, ...]


def measured(name: str, cases: Iterable[Case]) -> list[str]:
    """Explain every case by both splittings; return the cells of the network's line, as ``HEADER`` has them.

    An error that is no InputError is a defect, and ends the benchmark.
    """
    shapes: list[str] = []
    explained, worst, forwards, is_signed = "", 0.0, 0.0, False
    for case in cases:
        explained = case.explained
        for splitting in SPLITTINGS:
            explainer = LRP(case.network, splitting, output=case.output)
            try:
                relevance, sums = explainer.attribute(
                    case.given, case.target, return_sums=True, forward_kwargs=case.forward_kwargs
                )
            except InputError as error:
                return [name, case.shapes(), explained, "", "", f"refused: {_of_any_machine(error)}"]
            maps = list(relevance.values()) if isinstance(relevance, Mapping) else [relevance]
            start = sums["output"].double()
            worst = max(worst, float(((_total(maps) - start) / start).abs().max()))
            is_signed |= bool((start > 0).all()) and min(float(each.amin()) for each in maps) < 0
        if not shapes:
            forwards = _forwards(case)
        shapes.append(case.shapes())
    return [name, "; ".join(shapes), explained, f"{worst:.1e}", f"{forwards:.1f}", _remark(worst, is_signed)]


def _of_any_machine(error: Exception) -> str:
    return re.sub(r"\S*/site-packages/", "", str(error))


def _remark(worst: float, is_signed: bool) -> str:
    remarks = ["not conserved"] if worst > TOLERATED else []
    return ", ".join([*remarks, "negative values"] if is_signed else remarks)


def _total(maps: Iterable[Tensor]) -> Tensor:
    return torch.stack([each.double().flatten(1).sum(1) for each in maps]).sum(0)


def _forwards(case: Case) -> float:
    """How many forward passes of the same input one map takes: the median over interleaved rounds."""
    explainer, forward = LRP(case.network, output=case.output), torch.inference_mode()(case.forward)

    def explain() -> object:
        return explainer.attribute(case.given, case.target, forward_kwargs=case.forward_kwargs)

    forward()
    found = [(_processor_time(forward), _processor_time(explain)) for _ in range(case.rounds)]
    return statistics.median(explained / plain for plain, explained in found)


def _processor_time(run: Callable[[], object]) -> float:
    """Seconds that the processor worked; other programs do not add to them."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def accepted(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield the cases whose network takes their input."""
    for case in cases:
        try:
            with torch.no_grad():
                case.forward()
        except (RuntimeError, AssertionError, ValueError):
            continue
        yield case
