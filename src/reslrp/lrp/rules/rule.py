"""What a propagation rule is."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from reslrp.lrp.layers import LinearLayer


@runtime_checkable
class Rule(Protocol):
    """Carries relevance through one linear layer."""

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of the input ``h``, as a new tensor of its shape.

        Args:
            layer: the layer, ``z = W h`` by parts of W.
            h: its input.
            relevance: relevance of its output (of the output's shape).
            nonnegative: whether ``h >= 0`` is certain (it follows from the graph).
            support: zero at the entries of ``h`` that padding put in, one elsewhere; None: no padding.
        """
