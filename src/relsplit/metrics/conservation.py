"""How much relevance is lost or gained on the way to the input (paper Sec. 5.5, Figure 7)."""

import math

import torch
from torch import Tensor

from relsplit.checks import finite_maps, real_maps
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import ExplainedBatch


def conservation_gap(relevance: Tensor, start: Tensor) -> Tensor:
    """Return |sum of relevance - start| / |start| of each sample; 0 is strict conservation.

    Examples:
        >>> import torch
        >>> from relsplit.metrics import conservation_gap
        >>> conservation_gap(torch.full((1, 3, 2, 2), 0.05), torch.tensor([0.5])).shape
        torch.Size([1])

    Args:
        relevance: (N, ...), before any quantisation.
        start: (N,), not 0: the relevance that the propagation began with, for the proposed method the probability of
            the explained class; the value of any other target, such as a regression, which may be negative.

    Returns:
        (N,) float64, at least 0.

    Raises:
        InputError: ``start`` is not one number other than 0 per sample, or the relevance is not finite.
    """
    relevance, start = real_maps(relevance), real_maps(start, "start")
    if tuple(start.shape) != (len(relevance),) or not (start.abs() > 0).all():
        raise InputError(
            f"start must be {len(relevance)} numbers other than 0, one per sample, not {tuple(start.shape)} "
            f"of which one is {start.abs().min().item() if start.numel() else None}"
        )
    total = finite_maps(relevance).double().flatten(1).sum(1)
    begun = start.detach().double().to(total.device)
    return ((total - begun) / begun).abs()


class Conservation:
    """Column ``conservation_gap``: |relevance sum - p| / p, see :func:`conservation_gap`.

    Only a method that distributes the probability can keep the gap at zero; the others show how far they are from it.
    NaN where p is zero.
    """

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the gap of every sample."""
        possible = batch.probability > 0  # it can underflow for an explained label that is not the prediction
        gap = torch.full((len(possible),), math.nan, dtype=torch.float64, device=possible.device)
        if possible.any():
            gap[possible] = conservation_gap(batch.relevance_sum[possible, None], batch.probability[possible])
        return {"conservation_gap": gap}
