"""What a propagation rule is, and what chooses one for every layer."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer

LayerKind = Literal["convolution", "dense", "mean"]
"""Convolutions; fully connected layers; pooling and other layers without weights."""


@runtime_checkable
class Rule(Protocol):
    """Carries relevance through one linear layer.

    Attributes:
        conserves: whether it promises that the inputs together get what the outputs had; a promise that is broken is
            noticed, and a rule without one is left out of the account.

    A rule that uses what the layer made in the forward pass (``layer.output``) says so with ``reads_output = True``, or
    with a method ``reads_output_at(place)``: it is then kept until relevance comes by.
    """

    conserves: bool

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of the input ``h``, as a new tensor of its shape.

        Args:
            layer: the layer, ``z = W h`` by parts of W.
            h: its input.
            relevance: relevance of its output (of the output's shape); it may be written over.
            nonnegative: whether ``h >= 0`` is certain (it follows from the graph).
            support: zero at the entries of ``h`` that padding put in, one elsewhere; None: no padding.
        """


@dataclass(frozen=True)
class Place:
    """Where a layer stands.

    Attributes:
        path: of its module.
        residuals_before: how many residual additions the graph has before it.
        depth: share of the network's convolutions and fully connected layers that come before it, in [0, 1).
        kind: see :data:`LayerKind`.
        nonnegative: whether its input is known not to be negative.
        device: the type of device that it runs on.
        inputs: how many weights each of its outputs has.
    """

    path: str
    residuals_before: int
    depth: float
    kind: LayerKind
    nonnegative: bool = False
    device: str = "cpu"
    inputs: int = 0


@runtime_checkable
class RuleChoice(Protocol):
    """Chooses a rule for every layer.

    Where the rules of a choice read outputs, it says so with a method ``reads_output_at(place)``, which is asked when
    the layer runs: how deep it lies (``place.depth``) is not known then, and NaN.
    """

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""


def reads_output(of: Rule | RuleChoice, place: Place) -> bool:
    """Say whether a rule, or one that a choice may choose at ``place``, uses what its layer made."""
    at = getattr(of, "reads_output_at", None)
    return bool(getattr(of, "reads_output", False) if at is None else at(place))
