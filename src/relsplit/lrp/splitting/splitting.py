"""What a relevance splitting is."""

from typing import Protocol

from torch import Tensor


class Splitting(Protocol):
    """Divides relevance at an addition, where a skip connection meets its residual branch.

    Attributes:
        conserves: whether the shares are bounded, so that nothing is lost by rounding; see
            :class:`relsplit.lrp.rules.rule.Rule`.
    """

    conserves: bool

    def share(self, skip: Tensor, branch: Tensor) -> Tensor | float:
        """Return the part of the relevance that goes down the skip connection; the branch receives the rest.

        ``skip`` and ``branch`` are the two summands (h_s and h_m of the paper, equal shapes). The share is a number or
        a tensor of their shape; what it is, the two parts always add up to the whole.

        A class whose tensors are new at each call says so with an attribute ``returns_new = True``: they are then
        written over.
        """
