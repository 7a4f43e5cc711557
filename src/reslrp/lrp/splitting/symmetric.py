"""Symmetric splitting, paper Eq. 4."""

from torch import Tensor


class Symmetric:
    """``R_s = R_m = R / 2``."""

    def share(self, skip: Tensor, branch: Tensor) -> float:
        return 0.5
