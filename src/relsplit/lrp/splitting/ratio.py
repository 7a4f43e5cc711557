"""Ratio-based splitting, paper Eq. 5."""

from torch import Tensor

from relsplit.lrp.splitting import SPLITTINGS


@SPLITTINGS.register("ratio")
class Ratio:
    """``R_s = R |h_s| / (|h_s| + |h_m|)`` elementwise; an even split where both are zero."""

    conserves = True

    def share(self, skip: Tensor, branch: Tensor) -> Tensor:
        """Return the skip connection's share, elementwise in [0, 1]."""
        skip = skip.abs()
        total = branch.abs().add_(skip)
        # Reading the total once is cheaper than masking it; a GPU would have to wait for the answer.
        if not total.is_cuda and (total.numel() == 0 or bool(total.amin() > 0)):
            return skip.div_(total)
        return skip.div_(total).masked_fill_(total == 0, 0.5)
