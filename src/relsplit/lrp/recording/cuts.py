"""The steps of a recording that all relevance passes."""

import heapq
from collections.abc import Iterator

from relsplit.lrp.recording.step import Step


def cuts(output: Step, end: Step) -> Iterator[Step]:
    """Yield the steps that all relevance passes on its way from ``output`` to ``end``, in the order in which it comes.

    Args:
        output: where relevance starts.
        end: the network's input.
    """
    waiting, met = [(-output.index, id(output), output)], {output}
    while waiting:
        step = heapq.heappop(waiting)[2]
        if not waiting:
            yield step
        if step is end:
            return
        for source in step.sources:
            if source not in met:
                met.add(source)
                heapq.heappush(waiting, (-source.index, id(source), source))
