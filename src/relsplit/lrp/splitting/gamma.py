"""Splitting that favours the summand of the sum's sign, from the 2026 preprint on residual cancellation."""

from typing import Annotated

import torch
from torch import Tensor

from relsplit.lrp.rules.quotient import signed_quotient
from relsplit.lrp.splitting import SPLITTINGS
from relsplit.options import Limits, checked_options


@SPLITTINGS.register("gamma")
@checked_options
class GammaSplitting:
    """``R_s = R w(h_s) h_s / (w(h_s) h_s + w(h_m) h_m)`` with ``w(h) = 1 + gamma [h (h_s + h_m) > 0]``.

    Berend et al., "ResLRP: the role of residual cancellation in attribution instability in ViTs" (2026): the magnitudes
    grow at most ``1 + 2 / gamma``-fold at each addition; relevance of both signs arises. An even split where the sum
    is zero.
    """

    conserves = True

    def __init__(self, gamma: Annotated[float, Limits(above=0)] = 1.0) -> None:
        self.gamma = gamma

    def share(self, skip: Tensor, branch: Tensor) -> Tensor:
        """Return the skip connection's share, within ``[-1 / gamma, 1 + 1 / gamma]``."""
        total = skip + branch
        skip = skip * (1 + self.gamma * (skip * total > 0))
        branch = branch * (1 + self.gamma * (branch * total > 0))
        share, _ = signed_quotient(skip, skip + branch, 0.0)
        return torch.where(total == 0, 0.5, share)
