"""Which way a layer's outputs are explained: where they speak for what is explained as they are, or by their negatives.

Class 0 of one logit has the logit ``-z``, and a network may end in ``-z``, ``1 - p`` or the difference of two heads
itself. What grows as a layer's output falls is that of the same network with the layer's weights negated. That layer is
the first one with weights on the way back; means and sums that come after it see negated values, and are negated for
that. Rules that follow contributions with their signs cannot tell the two networks apart, the z+ rule can.
"""

import heapq
from collections.abc import Iterator

import torch
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.addition import addition
from relsplit.lrp.operations.gate import gate, quotient
from relsplit.lrp.operations.index_map import choice, expand, index_map, part, parts, permute, reshape
from relsplit.lrp.operations.max_pool import max_pool
from relsplit.lrp.operations.pass_through import pass_through
from relsplit.lrp.operations.softmax import softmax
from relsplit.lrp.recording.step import Saved, Step, whole

_PASSED = (
    addition, gate, quotient, choice, expand, index_map, part, parts, permute, reshape, max_pool, pass_through, softmax,
)  # fmt: skip
"""What operations hand on is what they got, or a choice, a sum or a growing or falling function of it."""
_UP_AND_DOWN = {"abs", "square", "pow", "sin", "cos", "cosh", "sinc"}
"""Functions that are neither: both ways are the same there."""


@torch.no_grad()
def explain_by_sign(result: Step, start: Tensor, is_contrary: Tensor | None = None) -> None:
    """Let last layers be explained as if their weights were negated, where the explained score falls with their output.

    A product of two activations, a layer with a rule of its user's and what is several operations in one kernel have no
    last weights that could be: relevance then goes the same way from there on.

    Args:
        result: the step of what the network returned; the walk back has yet to begin.
        start: the relevance that it begins with, of the result's shape.
        is_contrary: of one logit or probability of each sample, the samples (N,) of which class 0 is explained.
    """
    if is_contrary is not None and is_contrary.device.type == "cpu" and not bool(is_contrary.any()):
        is_contrary = None
    if is_contrary is None and not any(_may_fall(step) for step in _last_steps(result)):
        return
    # Of each entry a number with the sign that the score grows with it. They go back as relevance does: at a layer,
    # samples may be any dimension.
    signs = (start != 0).to(torch.float32)
    if is_contrary is not None:
        signs = torch.where(is_contrary.reshape(result.shape), -1.0, 1.0)
    found = {result: signs}
    waiting = [(-result.index, id(result), result)]
    while waiting:
        step = heapq.heappop(waiting)[2]
        for source, passed in _passed(step, found.pop(step)):
            if source in found:
                found[source] = found[source] + passed
            else:
                found[source] = passed
                heapq.heappush(waiting, (-source.index, id(source), source))


def _last_steps(result: Step) -> Iterator[Step]:
    """Yield the steps between the last layers and what the network returned."""
    seen, waiting = {result}, [result]
    while waiting:
        step = waiting.pop()
        yield step
        new = [source for source in step.sources if _goes_on(step) and source not in seen]
        seen.update(new)
        waiting += new


def _goes_on(step: Step) -> bool:
    """Whether what comes before a step is looked at."""
    if step.negation is not None:
        return not step.negation.has_weights
    handler = OPERATIONS.find(step.operation)
    is_product = handler is gate and len(step.sources) > 1
    return step.backward is not None and not is_product and handler in _PASSED and step.operation not in _UP_AND_DOWN


def _may_fall(step: Step) -> bool:
    """Whether a step's value may fall where a source's grows; an accelerator is not asked."""
    factors = [each.tensor if isinstance(each, Saved) else each for each in step.factors or ()]
    return any(
        each.device.type != "cpu" or bool((each < 0).any()) if isinstance(each, Tensor) else each < 0
        for each in factors
    )


def _passed(step: Step, signs: Tensor) -> list[tuple[Step, Tensor]]:
    """Negate a step if it is a layer, and return what is to be looked at before it."""
    if step.negation is not None:
        step.negation.entries = signs < 0
    if not _goes_on(step):
        return []
    if step.negation is not None:
        return [(step.sources[0], step.negation.spread(signs.clone()))]
    if step.factors is not None and len(step.sources) == 1:
        signs = _with_sign(signs, step.factors[0])
    assert step.backward is not None
    if len(step.sources) > 1 and OPERATIONS.find(step.operation) is addition:
        # What is added and taken away, ``z - tanh(z) / 2``, goes the way of the greater share.
        shares = [whole(share).abs() for share in step.backward(torch.ones_like(signs))]
        factors = step.factors or (1.0,) * len(shares)
        return [
            (
                source,
                _with_sign(signs * share if share.shape == signs.shape else signs, factor).sum_to_size(source.shape),
            )
            for source, share, factor in zip(step.sources, shares, factors, strict=True)
        ]
    return list(zip(step.sources, map(whole, step.backward(signs.clone())), strict=True))


def _with_sign(signs: Tensor, factor: float | Saved) -> Tensor:
    number = factor.tensor if isinstance(factor, Saved) else factor
    if isinstance(number, Tensor) and number.device == signs.device:
        return torch.where(number < 0, -signs, signs)
    return -signs if number < 0 else signs  # a number on the processor goes with values on any device
