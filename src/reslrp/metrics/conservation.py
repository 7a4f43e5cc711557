"""How much relevance is lost or gained on the way to the input."""

from torch import Tensor

from reslrp.errors import InputError
from reslrp.metrics.inputs import check_finite
from reslrp.metrics.sample_mean import SampleMean


def conservation_gap(relevance: Tensor, start: Tensor) -> Tensor:
    """|sum of relevance - start| / start for each sample, (N,); 0 is strict conservation (paper Sec. 5.5).

    relevance: (N, ...), before any quantisation. start: (N,), positive: the relevance the propagation began with,
    for the proposed method the probability of the explained class.
    """
    if tuple(start.shape) != (len(relevance),) or not (start > 0).all():
        raise InputError(
            f"start must be {len(relevance)} positive numbers, one per sample, not {tuple(start.shape)} "
            f"with minimum {start.min().item() if start.numel() else None}"
        )
    total = check_finite(relevance.detach()).double().flatten(1).sum(1)
    begun = start.detach().double().to(total.device)
    return (total - begun).abs() / begun


class ConservationGap(SampleMean):
    """Mean relative gap between the relevance that started and the relevance that arrived, see `conservation_gap`."""

    higher_is_better = False

    def update(self, relevance: Tensor, start: Tensor) -> None:
        self.add(conservation_gap(relevance, start))
