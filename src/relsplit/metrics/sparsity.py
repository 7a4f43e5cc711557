"""How few pixels carry the attribution."""

import torch
from torch import Tensor

from relsplit.checks import finite_maps
from relsplit.metrics.explained_batch import ExplainedBatch


def gini(maps: Tensor) -> Tensor:
    """Return the Gini index of the absolute attribution (Chalasani et al. 2020, Sec. 5).

    Examples:
        >>> import torch
        >>> from relsplit.metrics import gini
        >>> gini(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist()
        [0.0, 0.5]

    Args:
        maps: (N, ...), all but the first dimension are pixels.

    Returns:
        (N,) float64: 0 if all U pixels have the same, 1 - 1/U if one has everything. A map of zeros has index 0.

    Raises:
        InputError: a map is not finite.
    """
    values = finite_maps(maps).double().abs().flatten(1).sort(1).values
    units = values.shape[1]
    weights = 2 * torch.arange(1, units + 1, device=values.device, dtype=torch.float64) - units - 1
    total = values.sum(1)
    return torch.where(total > 0, (values * weights).sum(1) / (units * total), torch.zeros_like(total))


class Sparsity:
    """Column ``gini``: Gini index of the scored map, see :func:`gini`."""

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the index of every sample."""
        return {"gini": gini(batch.maps)}
