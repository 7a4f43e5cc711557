"""One forward pass, one walk back.

The walk is a plain loop instead of one call of ``torch.autograd.grad`` through custom functions: it computes the same
numbers, needs no graph, no hooks and no gradient mode of the caller, frees each activation as soon as it has been
passed, and leaves out the bookkeeping of about two hundred autograd nodes.
"""

from typing import Any

from torch import Tensor, fx

from relsplit.lrp.operations.operation import Operation
from relsplit.lrp.program import Program


class ForwardPass:
    """The values of one forward pass, freed as soon as neither it nor the way back needs them."""

    def __init__(self, program: Program, images: Tensor) -> None:
        self._values: dict[fx.Node, Any] = {program.image: images}
        self._supports: dict[fx.Node, Tensor | None] = {}
        self._tape: list[tuple[fx.Node, Operation, Any]] = []
        self._program = program
        for node, operation in program.operations.items():
            value, saved = operation.forward(self)
            self._values[node] = value
            if node in program.padded:
                self._supports[node] = program.padded[node].support(self)
            self._tape.append((node, operation, saved))
            del value, saved
            for dead in program.releases.get(node, ()):
                del self._values[dead]
        self.output = self._values[program.output]

    def arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: Any = fx.node.map_arg(node.args, self._values.__getitem__)
        kwargs: Any = fx.node.map_arg(node.kwargs, self._values.__getitem__) if node.kwargs else {}
        return args, kwargs

    def of(self, node: fx.Node) -> Any:
        return self._values[node]

    def support(self, node: fx.Node) -> Tensor | None:
        return self._supports.get(node)

    def propagate(self, relevance: Tensor, *, with_sums: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Walk back once from the output's relevance; return the image's relevance and the sums at the places.

        What a node kept for the way back is freed when it has been passed.
        """
        program = self._program
        self._values.clear()
        arrived: dict[fx.Node, Tensor] = {program.output: relevance}
        sums: dict[str, Tensor] = {}
        del relevance
        while self._tape:
            node, operation, saved = self._tape.pop()
            here = arrived.pop(node, None)
            if here is None:
                continue
            if with_sums:
                for name in program.places.get(node, ()):
                    sums[name] = here.flatten(1).sum(1)
            for source, part in operation.backward(saved, here):
                arrived[source] = arrived[source] + part if source in arrived else part
            del here, saved
        result = arrived.pop(program.image)
        if with_sums:
            for name in program.places.get(program.image, ()):
                sums[name] = result.flatten(1).sum(1)
        return result, dict(reversed(sums.items()))
