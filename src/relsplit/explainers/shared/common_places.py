"""The values of a network that every path of gradients from its answer to the image passes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from relsplit.lrp.recording.cuts import passed_by_all


class KeptValues(TorchFunctionMode):
    """Keeps what PyTorch's functions return within, in this thread, as far as it has gradients.

    What a later step wrote over is kept as it is then, with the gradient of what was written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        several = result if isinstance(result, (tuple, list)) else (result,)
        returned = [each for each in several if isinstance(each, Tensor) and each.requires_grad]
        nodes = [each.grad_fn for each in returned]
        # Parts of what one step made, such as chunks, are not all that passes there.
        self._found += [each for each, node in zip(returned, nodes, strict=True) if nodes.count(node) == 1]
        return result

    def by_node(self) -> dict[Node | None, Tensor]:
        """Return the values by the nodes of the autograd graph that made them."""
        return {value.grad_fn: value for value in self._found}


def passed_by_all_gradients(output: Tensor) -> Iterator[Node]:
    """Return the nodes of the autograd graph that all gradients of ``output`` pass, the nearest to it first.

    Nothing but the image may require gradients. The last one accumulates the image's.
    """
    start = output.grad_fn
    assert start is not None  # the answer was checked to have gradients
    return passed_by_all(start, _sources, _order)


def _sources(node: Node) -> list[Node]:
    return [source for source, _ in node.next_functions if source is not None]


def _order(node: Node) -> float:
    """Later operations come first; what accumulates gradients, which PyTorch numbers highest, comes last."""
    return float("inf") if hasattr(node, "variable") and not node.next_functions else -node._sequence_nr()
