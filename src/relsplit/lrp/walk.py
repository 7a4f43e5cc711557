"""One walk back over what was recorded.

The walk is a plain loop instead of one call of ``torch.autograd.grad`` through custom functions: it needs no graph, no
hooks and no gradient mode of the caller, and frees each activation as soon as it has been passed.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relsplit.errors import InputError, UnsupportedModelError, is_of_a_signal
from relsplit.lrp.arithmetic import plus
from relsplit.lrp.pieces import ELEMENTS
from relsplit.lrp.precision import full_precision
from relsplit.lrp.recording.step import Part, Passed, Step, whole

if TYPE_CHECKING:
    from relsplit.lrp.parameters import ParameterRelevance

Visit = Callable[[Step, Tensor, Passed], None]
"""Is told at each step what has arrived there and what it passes on. It may keep the former."""


class Guard:
    """Knows what the map's sum has to be: the start, less what steps lost that do not promise to conserve relevance.

    Args:
        start: relevance (N, ...) that the walk begins with.
        is_void: whether it was begun with what is no class, a tensor of one bool; None: it was not.
    """

    @torch.no_grad()
    def __init__(self, start: Tensor, is_void: Tensor | None = None) -> None:
        self._is_void = is_void
        self._start = per_image(start)
        self._scale = Amount.of(start).size.double()
        self._by_image = _Account()
        self._together = _Account()

    @torch.no_grad()
    def note(self, arrived: "Amount", passed: Passed) -> None:
        """Take note of what a step that does not promise anything made of what had arrived."""
        parts = [_sums(part) for _, part in passed]
        if all(len(sums) == len(self._start) for sums in (arrived.sum, *parts)):
            account = self._by_image
        else:
            # Images are not the first dimension there (heads, windows, tokens first): the batch has one account.
            account = self._together
            arrived = Amount(arrived.sum.sum(), arrived.size.sum())
            parts = [part.sum() for part in parts]
        account.arrived.append(arrived.sum)
        account.sizes.append(arrived.size)
        account.passed += parts

    @torch.no_grad()
    def gap(self, relevance: Sequence[Tensor]) -> Tensor:
        """Return the greatest share of the start that inputs miss or have too much, a tensor of one number.

        It is NaN or infinite where relevance is, and where there was no start.

        Args:
            relevance: of the inputs, (N, ...) each.
        """
        missing = self._start - self._by_image.lost() - sum(per_image(part) for part in relevance)
        # Relevance of both signs can be far larger than its sum, and is rounded accordingly.
        scale = torch.stack([self._scale, *self._by_image.sizes]).amax(0)
        tiny = torch.finfo(torch.float64).tiny
        if self._together.arrived:
            size = scale.sum() + torch.stack(self._together.sizes).sum()
            gap = (missing.sum() - self._together.lost()).abs() / size.clamp(min=tiny)
        else:
            gap = (missing.abs() / scale.clamp(min=tiny)).amax()
        return gap if self._is_void is None else gap.masked_fill(self._is_void, torch.nan)


class _Account:
    """What steps got and what they passed on: tensors that are added up at the end, because each sum takes a while."""

    def __init__(self) -> None:
        self.arrived: list[Tensor] = []
        self.passed: list[Tensor] = []
        self.sizes: list[Tensor] = []

    def lost(self) -> Tensor | float:
        """Return what was not passed on, in float64."""
        arrived, passed = (
            torch.stack(each).sum(0, dtype=torch.float64) if each else 0.0 for each in (self.arrived, self.passed)
        )
        return arrived - passed


@dataclass(frozen=True)
class Amount:
    """How much relevance there is at a step, by its first dimension.

    Attributes:
        sum: with its signs.
        size: without them.
    """

    sum: Tensor
    size: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, relevance: Tensor) -> "Amount":
        """Return how much there is, before it is written over; in pieces, which are read once and take no memory."""
        if relevance.dim() < 2 or not relevance.is_contiguous() or relevance.device.type != "cpu":
            return cls(_sums(relevance), _sums(relevance.abs()))
        rows = relevance.flatten(1)
        pieces = rows.split(max(ELEMENTS // max(2 * len(rows), 1), 1), 1)
        sums, sizes = [], []
        for piece in pieces:
            sums.append(piece.sum(1, dtype=_wide(rows)))
            sizes.append(piece.abs().sum(1, dtype=_wide(rows)))
        return cls(torch.stack(sums).sum(0), torch.stack(sizes).sum(0))


def _sums(relevance: Tensor) -> Tensor:
    """Return the sums over all dimensions but the first, a new tensor; a number is one sum."""
    if relevance.dim() < 2:
        return relevance.reshape(-1).to(_wide(relevance), copy=True)
    return relevance.sum(list(range(1, relevance.dim())), dtype=_wide(relevance))


def _wide(relevance: Tensor) -> torch.dtype:
    return torch.promote_types(relevance.dtype, torch.float32)


def is_per_image(relevance: Tensor, count: int) -> bool:
    """Say whether the first dimension of relevance can be that of ``count`` images."""
    return relevance.dim() > 0 and len(relevance) == count


def per_image(relevance: Tensor) -> Tensor:
    """Return the sums of relevance (N, ...) over all but the images, (N,) float64."""
    # Rows are added as they are: to convert every entry takes six times as long.
    rows = relevance.sum(-1, dtype=_wide(relevance)) if relevance.dim() > 1 else relevance
    return rows.reshape(len(relevance), -1).sum(1, dtype=torch.float64)


@dataclass
class Watch:
    """Who looks on while relevance goes back.

    Attributes:
        visit: is told of each step.
        guard: is told of steps that do not promise to conserve relevance.
        parameters: gathers what passes weights.
    """

    visit: Visit | None = None
    guard: Guard | None = None
    parameters: "ParameterRelevance | None" = None


def walk_back(
    output: Step, relevance: Tensor, inputs: Sequence[Step], watch: Watch, again: bool = False, owned: bool = False
) -> list[Tensor]:
    """Walk back once, without autocast and TF32; what a step kept for the way back is freed when it has been passed.

    Args:
        output: where relevance starts.
        relevance: of the output's shape.
        inputs: where it ends.
        watch: who looks on.
        again: whether another walk over the same steps is to come: nothing is freed.
        owned: whether ``relevance`` may be written over.

    Returns:
        The relevance of each input; zeros where none came.

    Raises:
        UnsupportedModelError: relevance came to an operation without a rule.
    """
    with torch.autocast(relevance.device.type, enabled=False), full_precision(relevance.device):
        arrived: dict[Step, Tensor] = {output: relevance if owned else relevance.clone()}
        waiting, ends = [(-output.index, id(output), output)], set(inputs)
        while waiting and waiting[0][2] not in ends:
            step = heapq.heappop(waiting)[2]
            here = arrived.pop(step)
            step.is_cut = not waiting
            passed = _passed(step, here, watch)
            if not again:
                step.backward, step.sources, step.negation = None, (), None
            for source, part in passed:
                if source in arrived:
                    total = arrived[source]
                    arrived[source] = part.added_to(total) if isinstance(part, Part) else plus(total, part)
                else:
                    arrived[source] = whole(part)
                    heapq.heappush(waiting, (-source.index, id(source), source))
            del here, passed
    for step in inputs:
        if step in arrived and watch.visit is not None:
            step.is_cut = len(waiting) == 1
            watch.visit(step, arrived[step], [])
    return [arrived[step] if step in arrived else relevance.new_zeros(step.shape) for step in inputs]


def _passed(step: Step, here: Tensor, watch: Watch) -> list[tuple[Step, Tensor | Part]]:
    if step.backward is None:
        raise UnsupportedModelError(step.refusal or f"{step} was passed before: record the network anew")
    noted = watch.guard is not None and not step.promises
    arrived = Amount.of(here) if noted else None
    looked_at = watch.visit is not None or torch.is_grad_enabled()
    try:
        parts = step.backward(here.clone() if looked_at else here)
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if is_of_a_signal(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise UnsupportedModelError(f"{step} failed on the way back ({type(error).__name__}: {reason})") from error
    if arrived is None and watch.visit is None:
        return list(zip(step.sources, parts, strict=True))
    passed = list(zip(step.sources, map(whole, parts), strict=True))
    if watch.guard is not None and arrived is not None:
        watch.guard.note(arrived, passed)
    if watch.visit is not None:
        watch.visit(step, here, passed)
    return list(passed)
