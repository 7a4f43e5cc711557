"""Two activations meet: relevance is split between them (paper Eq. 4-5)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import minus, times, union
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.pass_through import factors_of_sum, pass_through
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Step
from relsplit.lrp.splitting.splitting import Splitting


@OPERATIONS.register("add", "sub", "rsub")
def addition(call: Call) -> Any:
    """Split the relevance of a sum between its summands; see ``pass_through`` for a constant summand."""
    given = call.given()
    first, second = given["self"], given["other"]
    steps = call.step(first), call.step(second)
    if steps[0] is None or steps[1] is None:
        return pass_through(call)
    return split_sum(call, (first, second), (steps[0], steps[1]), factors_of_sum(call))


def share_of_first(
    splitting: Splitting | None, summands: tuple[Tensor, Tensor], steps: tuple[Step, Step]
) -> Tensor | float:
    """Return which share of the relevance of a sum its first summand takes.

    Args:
        splitting: None: the second one takes all.
        summands: as they are added.
        steps: that made them; where one of the two is constant (a padded channel, a class token), the other takes all.
    """
    share: Tensor | float = 0.0
    if splitting is not None:
        first, second = summands
        wide = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
        share = splitting.share(*torch.broadcast_tensors(first.to(wide), second.to(wide)))
    if steps[1].support is not None:
        share = torch.where(steps[1].support > 0, share, 1.0)
    if steps[0].support is not None:
        share = torch.where(steps[0].support > 0, share, 0.0)
    return share


def split_sum(
    call: Call, summands: tuple[Tensor, Tensor], steps: tuple[Step, Step], signs: tuple[float, float] = (1, 1)
) -> Any:
    """Run an addition and note how relevance is divided at it.

    Args:
        call: the addition.
        summands: as they are added, but for factors.
        steps: that made them.
        signs: the factors.
    """
    recorder, options = call.recorder, call.options
    residual = recorder.ancestry.residual(steps[0].index, steps[1].index, recorder.path(), call.name)
    recorder.facts.residuals.append(residual)
    order = (0, 1) if residual.skip_is_first else (1, 0)
    skip, branch = (summands[place] * signs[place] if signs[place] != 1 else summands[place] for place in order)
    of_skip, of_branch = (steps[place] for place in order)
    shapes = skip.shape, branch.shape
    if call.is_in_place and recorder.in_graph:
        skip, branch = skip.clone(), branch.clone()  # autograd keeps what the share is made of
    splitting = options.splitting if options.include_identity or not residual.identity else None
    share = _shares(call, splitting, (skip, branch), (of_skip, of_branch))
    output = call.run()
    facts: dict[str, Any] = {
        "nonnegative": of_skip.nonnegative and of_branch.nonnegative and signs[0] > 0 and signs[1] > 0,
        "is_attention": of_skip.is_attention and of_branch.is_attention,
        "support": union((of_skip.support, of_branch.support), output.shape),
    }
    factors = tuple(signs[place] for place in order) if min(signs) < 0 else None
    if splitting is None and of_skip.support is None and of_branch.support is None:
        alone = None if factors is None else factors[1:]
        call.record(output, [of_branch], lambda relevance: [relevance.sum_to_size(shapes[1])], factors=alone, **facts)
        return output
    owned = getattr(splitting, "returns_new", False)

    def backward(relevance: Tensor) -> list[Tensor]:
        down_skip = times(share(), relevance) if owned else relevance * share()
        down_branch = minus(relevance, down_skip)
        return [down_skip.sum_to_size(shapes[0]), down_branch.sum_to_size(shapes[1])]

    conserves = splitting is None or splitting.conserves
    call.record(output, [of_skip, of_branch], backward, conserves=conserves, factors=factors, **facts)
    return output


def _shares(
    call: Call, splitting: Splitting | None, summands: tuple[Tensor, Tensor], steps: tuple[Step, Step]
) -> Callable[[], Tensor | float]:
    """Return what gives the first summand's share: of values that are kept anyway, it is not kept as well."""
    holders = call.recorder.holders
    if splitting is not None and not call.is_in_place and not call.recorder.is_differentiated:
        first, second = (holders.had_again(summand) for summand in summands)
        if first is not None and second is not None:
            return lambda: share_of_first(splitting, (first.tensor, second.tensor), steps)
    share = share_of_first(splitting, summands, steps)  # before the sum is written over a summand
    return lambda: share
