"""What an operation is: one node's two directions."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, fx

Evaluate = Callable[..., Any]
Passed = list[tuple[fx.Node, Tensor]]


class Values(Protocol):
    """The tensors of a forward pass under way."""

    def arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of ``node`` with tensors in place of nodes."""

    def of(self, node: fx.Node) -> Any:
        """Return the value of ``node``."""

    def support(self, node: fx.Node) -> Tensor | None:
        """Return where ``node`` is no padding (zeros and ones like its value), or None if nothing was padded."""


class Operation(Protocol):
    """One node's two directions."""

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        """The nodes that it passes relevance to."""

    def forward(self, values: Values) -> tuple[Any, Any]:
        """Return the node's value and what ``backward`` needs of it."""

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        """Return the relevance of the sources."""


class KeepsSupport(Operation, Protocol):
    """An operation whose output has padding where its input has it, or that pads."""

    def support(self, values: Values) -> Tensor | None:
        """Return where the output is no padding, or None if nothing was padded."""
