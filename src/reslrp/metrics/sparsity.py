"""How few pixels carry the attribution."""

import torch
from torch import Tensor

from reslrp.metrics.inputs import check_finite
from reslrp.metrics.sample_mean import SampleMean


def gini(maps: Tensor) -> Tensor:
    """Gini index (N,) of the absolute attribution: 0 if all pixels have the same, 1 - 1/U if one of U has everything.

    maps: (N, ...), all but the first dimension are pixels. A map of zeros has index 0.
    Chalasani et al. 2020, Sec. 5.
    """
    values = check_finite(maps.detach()).double().abs().flatten(1).sort(1).values
    units = values.shape[1]
    weights = 2 * torch.arange(1, units + 1, device=values.device, dtype=torch.float64) - units - 1
    total = values.sum(1)
    return torch.where(total > 0, (values * weights).sum(1) / (units * total), torch.zeros_like(total))


class Gini(SampleMean):
    """Mean Gini index, see `gini`."""

    def update(self, maps: Tensor) -> None:
        self.add(gini(maps))
