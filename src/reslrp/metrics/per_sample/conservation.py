"""Column ``conservation_gap``: how far the sum of the attribution is from the explained probability."""

import math

import torch
from torch import Tensor

from reslrp.metrics.conservation import conservation_gap
from reslrp.metrics.per_sample.explained_batch import ExplainedBatch


class Conservation:
    """|relevance sum - p| / p, see :func:`reslrp.metrics.conservation.conservation_gap` (paper Sec. 5.5, Fig. 7).

    Only a method that distributes the probability can keep the gap at zero; the others show how far they are from it.
    NaN where p is zero.
    """

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        possible = batch.probability > 0  # it can underflow for an explained label that is not the prediction
        gap = torch.full((len(possible),), math.nan, dtype=torch.float64, device=possible.device)
        if possible.any():
            gap[possible] = conservation_gap(batch.relevance_sum[possible, None], batch.probability[possible])
        return {"conservation_gap": gap}
