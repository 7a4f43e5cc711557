"""The contrary of one logit: class 0, whose logit is the negative of what the network answers.

The network that answers ``-z`` is the same with its last layer's weights negated. That layer is the first one with
weights on the way back; means and sums that come after it see negated values, and are negated for that. Rules that
follow contributions with their signs cannot tell the two networks apart, the z+ rule can.
"""

import heapq

import torch
from torch import Tensor

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.addition import addition
from relsplit.lrp.operations.gate import gate, quotient
from relsplit.lrp.operations.index_map import choice, expand, index_map, part, parts, permute, reshape
from relsplit.lrp.operations.max_pool import max_pool
from relsplit.lrp.operations.pass_through import pass_through
from relsplit.lrp.operations.softmax import softmax
from relsplit.lrp.recording.step import Step, whole

_PASSED = (
    addition, gate, quotient, choice, expand, index_map, part, parts, permute, reshape, max_pool, pass_through, softmax,
)  # fmt: skip
"""What operations hand on is what they got, or a choice, a sum or a growing function of it: so are the negatives."""


@torch.no_grad()
def explain_contrary(result: Step, is_contrary: Tensor) -> None:
    """Let the last layers of some samples be explained as if their weights were negated.

    A product of two activations, a layer with a rule of its user's and what is several operations in one kernel have no
    last weights that could be: both classes then go the same way from there on.

    Args:
        result: the step of the one logit or probability of each sample; the walk back has yet to begin.
        is_contrary: booleans (N,), the samples of which class 0 is explained.
    """
    if is_contrary.device.type == "cpu" and not bool(is_contrary.any()):
        return
    # Numbers mark entries whose negatives are explained. They go back as relevance does: at a layer, samples may be any
    # dimension.
    marks = {result: is_contrary.to(torch.float32).reshape(result.shape)}
    waiting = [(-result.index, id(result), result)]
    while waiting:
        step = heapq.heappop(waiting)[2]
        marked = marks.pop(step)
        for source, passed in _passed(step, marked):
            if source in marks:
                marks[source] = marks[source] + passed
            else:
                marks[source] = passed
                heapq.heappush(waiting, (-source.index, id(source), source))


def _passed(step: Step, marked: Tensor) -> list[tuple[Step, Tensor]]:
    """Negate a step if it is a layer, and return what is to be negated before it."""
    if step.negation is not None:
        step.negation.entries = marked != 0
        return [] if step.negation.has_weights else [(step.sources[0], step.negation.spread(marked.clone()))]
    handler = OPERATIONS.find(step.operation)
    is_product = handler is gate and len(step.sources) > 1
    if step.backward is None or is_product or handler not in _PASSED:
        return []
    if handler is addition and len(step.sources) > 1:  # both, whatever their shares are
        return [(source, marked.sum_to_size(source.shape)) for source in step.sources]
    return list(zip(step.sources, map(whole, step.backward(marked.clone())), strict=True))
