"""One forward pass, one walk back.

The walk is a plain loop instead of one call of ``torch.autograd.grad`` through custom functions: it computes the same
numbers, needs no graph, no hooks and no gradient mode of the caller, frees each activation as soon as it has been
passed, and leaves out the bookkeeping of about two hundred autograd nodes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.errors import InputError
from relsplit.lrp.graph.tracing import UnsupportedModelError, describe
from relsplit.lrp.operations.operation import Operation, Passed, plus
from relsplit.lrp.precision import full_precision
from relsplit.lrp.program import Program

Visit = Callable[[fx.Node, Tensor, Passed], None]


class FailedStepError(UnsupportedModelError):
    """A step of the program failed: the images do not fit the model, or the step is not what it was taken for."""


@contextmanager
def _named(node: fx.Node) -> Iterator[None]:
    """Say at which node it was that something failed."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise FailedStepError(f"{describe(node)} failed ({type(error).__name__}: {reason})") from error


class ForwardPass:
    """The values of one forward pass, freed as soon as neither it nor the way back needs them."""

    def __init__(self, program: Program, images: Tensor) -> None:
        self._values: dict[fx.Node, Any] = {program.image: images}
        self._supports: dict[fx.Node, Tensor | None] = {}
        self._tape: list[tuple[fx.Node, Operation, Any]] = []
        self._program = program
        for node, operation in program.operations.items():
            with _named(node):
                value, saved = operation.forward(self)
                self._values[node] = value
                if node in program.partial:
                    self._supports[node] = operation.support(self)
            self._tape.append((node, operation, saved))
            del value, saved
            for dead in program.releases.get(node, ()):
                del self._values[dead]
                self._supports.pop(dead, None)
        self.output = self._values[program.output]

    def arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: Any = fx.node.map_arg(node.args, self._values.__getitem__)
        kwargs: Any = fx.node.map_arg(node.kwargs, self._values.__getitem__) if node.kwargs else {}
        return args, kwargs

    def of(self, node: fx.Node) -> Any:
        return self._values[node]

    def support(self, node: fx.Node) -> Tensor | None:
        return self._supports.get(node)

    def propagate(self, relevance: Tensor, visit: Visit | None = None) -> Tensor:
        """Walk back once from the output's relevance, without autocast and TF32; return the image's.

        What a node kept for the way back is freed when it has been passed.

        Args:
            relevance: of the output; it is not changed.
            visit: is told at each node what has arrived there and what the node passes on. It may keep the former; the
                latter will be written over.
        """
        with torch.autocast(relevance.device.type, enabled=False), full_precision(relevance.device):
            return self._walk_back(relevance, visit)

    def _walk_back(self, relevance: Tensor, visit: Visit | None) -> Tensor:
        program = self._program
        self._values.clear()
        arrived: dict[fx.Node, Tensor] = {program.output: relevance.clone()}
        while self._tape:
            node, operation, saved = self._tape.pop()
            here = arrived.pop(node, None)
            if here is None:
                continue
            with _named(node):
                passed = operation.backward(saved, here if visit is None else here.clone())
            if visit is not None:
                visit(node, here, passed)
            for source, part in passed:
                arrived[source] = plus(arrived[source], part) if source in arrived else part
            del here, saved, passed, part
        result = arrived.pop(program.image)
        if visit is not None:
            visit(program.image, result, [])
        return result
