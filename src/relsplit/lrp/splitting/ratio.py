"""Ratio-based splitting, paper Eq. 5."""

import torch
from torch import Tensor

from relsplit.lrp.pieces import in_pieces
from relsplit.lrp.splitting import SPLITTINGS


@SPLITTINGS.register("ratio")
class Ratio:
    """``R_s = R |h_s| / (|h_s| + |h_m|)`` elementwise; an even split where both are zero."""

    conserves = True
    returns_new = True

    def share(self, skip: Tensor, branch: Tensor) -> Tensor:
        """Return the skip connection's share, elementwise in [0, 1]."""
        if skip.requires_grad or branch.requires_grad:
            total = skip.abs() + branch.abs()
            return torch.where(total > 0, skip.abs() / total.masked_fill(total == 0, 1), 0.5)
        share = torch.empty_like(skip)
        for part, *summands in in_pieces(share, skip, branch):
            _write_share(part, *summands)
        return share


def _write_share(share: Tensor, skip: Tensor, branch: Tensor) -> None:
    torch.abs(skip, out=share)
    total = branch.abs().add_(share)
    # Reading the total once is cheaper than masking it; a GPU would have to wait for the answer.
    if total.device.type == "cpu" and (total.numel() == 0 or bool(total.amin() > 0)):
        share.div_(total)
    else:
        share.div_(total).masked_fill_(total == 0, 0.5)
