"""The steps of a graph that every way from its output to its input passes."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from relsplit.lrp.recording.step import Step

Node = TypeVar("Node")


def passed_by_all(
    output: Node, sources: Callable[[Node], Iterable[Node]], order: Callable[[Node], float]
) -> Iterator[Node]:
    """Yield the nodes that all ways back from ``output`` pass, the nearest to it first.

    Args:
        output: where they start.
        sources: of a node.
        order: a number for each node, less than that of any of its sources.
    """
    waiting, met = [(order(output), id(output), output)], {output}
    while waiting:
        node = heapq.heappop(waiting)[2]
        if not waiting:
            yield node
        for source in sources(node):
            if source not in met:
                met.add(source)
                heapq.heappush(waiting, (order(source), id(source), source))


def cuts(output: Step) -> Iterator[Step]:
    """Yield the steps of a recording that all relevance passes on its way from ``output`` to the network's input."""
    return passed_by_all(output, lambda step: step.sources, lambda step: -step.index)
