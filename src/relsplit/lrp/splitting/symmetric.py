"""Symmetric splitting, paper Eq. 4."""

from torch import Tensor

from relsplit.lrp.splitting import SPLITTINGS


@SPLITTINGS.register("symmetric")
class Symmetric:
    """``R_s = R_m = R / 2``."""

    conserves = True

    def share(self, skip: Tensor, branch: Tensor) -> float:
        """Return one half."""
        return 0.5
