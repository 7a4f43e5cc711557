"""One recorded operation: what it made, and how relevance of that goes back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import can_hold

RESHAPES = ("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "unsqueeze", "squeeze", "unflatten")
"""Operations that keep all entries and their order."""
SIGMOIDS = ("sigmoid", "hardsigmoid")
SOFTMAXES = ("softmax", "_softmax", "_safe_softmax")
PROBABILITIES = (*SIGMOIDS, *SOFTMAXES)
"""Operations that make probabilities."""

Passed = list[tuple["Step", Tensor]]
"""What a step hands on: relevance for each of its sources."""


@dataclass(frozen=True)
class Part:
    """Relevance of some entries of a source, of which the others get none.

    Attributes:
        relevance: of these entries.
        shape: of the source.
        there: returns the view of these entries, of a tensor of that shape.
    """

    relevance: Tensor
    shape: torch.Size
    there: Callable[[Tensor], Tensor]

    def alone(self) -> Tensor:
        """Return the relevance of the source, of this part alone."""
        whole = self.relevance.new_zeros(self.shape)
        self.there(whole).copy_(self.relevance)
        return whole

    def added_to(self, total: Tensor) -> Tensor:
        """Return ``total`` with this part added, written over it where that can hold it."""
        if not can_hold(total, total):
            return total + self.alone()
        self.there(total).add_(self.relevance)
        return total


def whole(part: Tensor | Part) -> Tensor:
    """Return relevance of a source, of which a part may have been handed on."""
    return part.alone() if isinstance(part, Part) else part


Backward = Callable[[Tensor], Sequence[Tensor | Part]]
"""From the relevance of what a step made, which it may write over, to that of its sources: new tensors."""


@dataclass(eq=False, slots=True)
class Step:
    """One value that depends on the input, and the way back from it.

    A step knows its sources only, as a node of an autograd graph does: what nobody downstream can reach is freed.

    Attributes:
        index: place in the order of the forward pass; the input is 0.
        operation: its name, "convolution".
        path: of the innermost module that was running, "" for the network itself.
        shape: of the value.
        sources: the steps that relevance goes to.
        backward: the way back; None where there is none, or where it has been gone.
        conserves: whether it promises to hand on exactly what it receives; a function where that is known later only.
        nonnegative: whether its value cannot be negative, where it depends on the input.
        is_gate: whether its value comes from a sigmoid or the like, possibly reshaped, masked, scaled or converted.
        is_attention: the same, possibly mixed over the heads or summed as well.
        support: where the value depends on the input (zeros and ones of its shape); None: everywhere.
        refusal: why relevance cannot pass here, for an operation without a rule.
        is_input: whether it is what the network was given.
        is_tokens: whether its value is integers that an embedding is to look up, or has been made of such.
        is_embedded: of tokens, whether an embedding has looked them up.
        is_attention_weights: whether it made the weights of an attention.
        is_inside: whether it is a part of an operation that the network carried out at once.
        is_cut: set on the way back: whether all relevance passes here.
        given: what it was computed from, where contributions pass by the slope.
        factors: numbers by whose signs its value grows or falls with those of its sources; None: it grows with them.
        negation: of a layer, which of its outputs are explained by their negatives; None: its rule cannot tell.
    """

    index: int
    operation: str
    path: str
    shape: tuple[int, ...]
    sources: tuple["Step", ...] = ()
    backward: Backward | None = None
    conserves: bool | Callable[[], bool] = True
    nonnegative: bool = False
    is_gate: bool = False
    is_attention: bool = False
    support: Tensor | None = None
    refusal: str = ""
    is_tokens: bool = False
    is_embedded: bool = False
    is_attention_weights: bool = False
    is_input: bool = False
    is_inside: bool = False
    is_cut: bool = False
    given: "Saved | None" = None
    factors: "tuple[float | Saved, ...] | None" = None
    negation: "Negation | None" = None

    @property
    def promises(self) -> bool:
        """Whether it promises to conserve relevance."""
        return self.conserves() if callable(self.conserves) else self.conserves

    def __str__(self) -> str:
        """Say which operation this is and where, for a message."""
        return f"operation '{self.operation}'" + (f" in module '{self.path}'" if self.path else "")


@dataclass(eq=False)
class Negation:
    """Which outputs of a linear layer are explained by their negatives, set on the way back.

    Attributes:
        spread: from numbers at the layer's outputs to numbers at all inputs that these see.
        has_weights: whether the layer has weights that are negated; otherwise what goes into it is.
        entries: booleans of the output's shape; None: no output is.
    """

    spread: Callable[[Tensor], Tensor]
    has_weights: bool
    entries: Tensor | None = None


class Saved:
    """A tensor that the way back needs: the value of that moment, whatever is written over it later."""

    __slots__ = ("__weakref__", "_tensor")

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    @property
    def tensor(self) -> Tensor:
        """The value."""
        return self._tensor

    def copy(self) -> None:
        """Go on with a copy: the original is about to be written over."""
        self._tensor = self._tensor.clone()
