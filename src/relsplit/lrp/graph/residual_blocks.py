"""Residual blocks in a graph: for each addition, which summand is the skip connection, and where the block begins."""

from dataclasses import dataclass

from torch import fx

from relsplit.lrp.graph.tracing import module_path


@dataclass(frozen=True)
class Residual:
    """One addition. ``fork`` is the node that both summands come from: the block's input."""

    name: str
    skip: fx.Node
    branch: fx.Node
    fork: fx.Node
    identity: bool


def find_residuals(additions: list[tuple[fx.Node, fx.Node, fx.Node]], layers: set[fx.Node]) -> dict[fx.Node, Residual]:
    """Describe each addition ``(node, first, second)``; ``layers`` are the nodes that have weights.

    The skip connection is the summand with fewer layers on its way from the fork; it is an identity when it has none.
    """
    if not additions:
        return {}
    graph = additions[0][0].graph
    order = {node: index for index, node in enumerate(graph.nodes)}
    # Ancestors (a node is its own) as bit masks: networks have hundreds of nodes, and Python's integers do this well.
    ancestors: dict[fx.Node, int] = {}
    for node in graph.nodes:
        mask = 1 << order[node]
        for source in node.all_input_nodes:
            mask |= ancestors[source]
        ancestors[node] = mask
    nodes = list(order)
    result: dict[fx.Node, Residual] = {}
    used: dict[str, int] = {}
    for node, first, second in additions:
        fork = nodes[(ancestors[first] & ancestors[second]).bit_length() - 1]
        counts = [_layers_between(fork, end, order, ancestors, layers) for end in (first, second)]
        skip, branch = (first, second) if counts[0] < counts[1] else (second, first)
        path = module_path(node) or node.name
        used[path] = used.get(path, 0) + 1
        name = path if used[path] == 1 else f"{path}@{used[path]}"
        result[node] = Residual(name, skip, branch, fork, min(counts) == 0 < max(counts))
    return result


def _layers_between(
    fork: fx.Node, end: fx.Node, order: dict[fx.Node, int], ancestors: dict[fx.Node, int], layers: set[fx.Node]
) -> int:
    """Count the layers on the longest way from ``fork`` (excluded) to ``end`` (included)."""
    longest = {fork: 0}
    node = fork
    while node is not end:
        node = node.next
        if ancestors[node] >> order[fork] & 1:
            longest[node] = (node in layers) + max(longest.get(source, 0) for source in node.all_input_nodes)
    return longest[end]
