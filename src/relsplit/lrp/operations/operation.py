"""What an operation is: one node's two directions."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
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
        """Return where ``node`` depends on the image (zeros and ones like its value), or None if it does everywhere."""


class Operation(Protocol):
    """One node's two directions."""

    @property
    def evaluate(self) -> Evaluate:
        """The function that computes the node's value from its arguments."""

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        """The nodes that it passes relevance to."""

    @property
    def conserves(self) -> bool:
        """Whether it promises to pass on exactly what it receives."""

    def forward(self, values: Values) -> tuple[Any, Any]:
        """Return the node's value and what ``backward`` needs of it."""

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        """Return the relevance of the sources: tensors that share no entry, and that the walk may write over.

        ``relevance`` is the operation's own, to be written over or passed on.
        """

    def support(self, values: Values) -> Tensor | None:
        """Return where the output depends on the image (zeros and ones like it), or None if it does everywhere.

        Asked only of nodes whose inputs are constant in places (padding, a class token), or that make them so.
        Relevance that constants would receive goes to their partners.
        """


def plus(total: Tensor, part: Tensor) -> Tensor:
    """Return ``total + part``, written over ``total`` where that can hold it: new memory costs more than the sum."""
    return total.add_(part) if _holds(total, part) else total + part


def minus(total: Tensor, part: Tensor) -> Tensor:
    """Return ``total - part``, likewise."""
    return total.sub_(part) if _holds(total, part) else total - part


def times(share: Tensor | float, relevance: Tensor) -> Tensor:
    """Return ``share * relevance``, written over the share where that can hold it."""
    if isinstance(share, Tensor) and _holds(share, relevance):
        return share.mul_(relevance)
    return relevance * share


def _holds(total: Tensor, part: Tensor) -> bool:
    dense = total.is_contiguous() or (total.dim() == 4 and total.is_contiguous(memory_format=torch.channels_last))
    return dense and total.shape == part.shape and total.dtype == part.dtype


def where_supported(h: Tensor, support: Tensor | None) -> Tensor:
    """Return ``h`` with its constant entries at zero: they contribute nothing that could be explained."""
    return h if support is None else torch.where(support > 0, h, 0)


def supported(reached: Tensor | None) -> Tensor | None:
    """Return a support of ``reached`` (booleans), None where it is everywhere."""
    return None if reached is None or bool(reached.all()) else reached.float()
