"""The addition as a linear layer: the splitting of plain LRP."""

from torch import Tensor

from relsplit.lrp.rules.quotient import Stabilizer, signed_shares
from relsplit.lrp.splitting import SPLITTINGS
from relsplit.options import checked_options


@SPLITTINGS.register("proportional")
@checked_options
class Proportional:
    """``R_s = R h_s / (h_s + h_m + epsilon sign)``: the epsilon rule for an addition, signs included.

    This is LRP without relevance splitting (the paper's Table C, "LRP"): contributions of opposite sign can make either
    part larger than the whole.
    """

    conserves = False
    returns_new = True

    def __init__(self, epsilon: Stabilizer = 1e-9) -> None:
        self.epsilon = epsilon

    def share(self, skip: Tensor, branch: Tensor) -> Tensor:
        """Return the skip connection's share, any real number."""
        total = skip + branch
        return signed_shares(skip, total, self.epsilon, over=total)
