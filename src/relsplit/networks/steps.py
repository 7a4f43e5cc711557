"""A network's calls one after the other, without what keeps a graph and its weights in memory when it is done with."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate


class UncompiledGraph(fx.GraphModule):
    """A graph that is worked on and not run: of code that it generates, fx keeps the text for good."""

    def recompile(self) -> Any:
        """Generate nothing."""


def emptied(graph: fx.GraphModule) -> None:
    """Take a graph's modules from it: it refers to itself in circles, which hold their weights until a collection."""
    for content in (graph._modules, graph._parameters, graph._buffers):
        content.clear()


@dataclass(frozen=True)
class _Result:
    """Stands in a step's arguments for what an earlier step has returned."""

    index: int


@dataclass(frozen=True)
class _Step:
    kind: str
    target: Any
    args: Any
    kwargs: Any
    done_with: tuple[int, ...]
    """Results that no later step reads."""


class Steps(nn.Module):
    """What a graph computes.

    Args:
        graph: of one input; its modules are shared.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        nodes = list(graph.graph.nodes)
        index = {node: i for i, node in enumerate(nodes)}
        last = {argument: i for i, node in enumerate(nodes) for argument in node.all_input_nodes}
        self._steps: list[_Step] = []
        for i, node in enumerate(nodes):
            target = node.target
            if node.op == "call_module":
                target = f"step_{i}"
                self.add_module(target, graph.get_submodule(str(node.target)))
            elif node.op == "get_attr":
                target = _attribute(graph, str(node.target))
            args, kwargs = (map_aggregate(each, lambda a: _as_result(a, index)) for each in (node.args, node.kwargs))
            done_with = tuple(index[argument] for argument in node.all_input_nodes if last[argument] == i)
            self._steps.append(_Step(node.op, target, args, kwargs, done_with))
        self.eval()

    def forward(self, images: Tensor) -> Any:
        """Return what the network returns for ``images``."""
        results: dict[int, Any] = {}

        def filled(value: Any) -> Any:
            return results[value.index] if isinstance(value, _Result) else value

        for i, step in enumerate(self._steps):
            args, kwargs = map_aggregate(step.args, filled), map_aggregate(step.kwargs, filled)
            if step.kind == "placeholder":
                results[i] = images
            elif step.kind == "get_attr":
                results[i] = step.target
            elif step.kind == "call_module":
                results[i] = self._modules[step.target](*args, **kwargs)  # type: ignore[misc]
            elif step.kind == "call_method":
                results[i] = getattr(args[0], step.target)(*args[1:], **kwargs)
            elif step.kind == "call_function":
                results[i] = step.target(*args, **kwargs)
            else:
                return args[0]
            for index in step.done_with:
                del results[index]
            args = kwargs = None  # what has been passed is free
        raise AssertionError("a graph ends with its output")


def _as_result(argument: Any, index: dict[fx.Node, int]) -> Any:
    return _Result(index[argument]) if isinstance(argument, fx.Node) else argument


def _attribute(graph: nn.Module, path: str) -> Any:
    found: Any = graph
    for name in path.split("."):
        found = getattr(found, name)
    return found
