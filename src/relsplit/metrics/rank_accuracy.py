"""Do the highest pixels lie on the object?"""

import torch
from torch import Tensor

from relsplit.metrics.explained_batch import ExplainedBatch
from relsplit.metrics.localisation import checked_regions, where_known


def relevance_rank_accuracy(maps: Tensor, regions: Tensor) -> Tensor:
    """Return the share of the region's K pixels that are among the K highest of the map.

    Relevance rank accuracy of Arras et al. 2022 (CLEVR-XAI), Sec. 3.2. (Their relevance mass accuracy is
    :func:`relsplit.metrics.localisation.energy_inside`.) Of pixels that share the K-th value, the share of them that is
    expected if they are drawn: a constant map earns the region's area and no more.

    Examples:
        >>> import torch
        >>> from relsplit.metrics import relevance_rank_accuracy
        >>> box = torch.tensor([[[True, True], [False, False]]])
        >>> relevance_rank_accuracy(torch.tensor([[[9.0, 1.0], [2.0, 0.0]]]), box).tolist()
        [0.5]

    Args:
        maps: (N, H, W); of signals (N, L), of volumes (N, D, H, W).
        regions: of the same shape, boolean, none of them empty.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        InputError: shapes or types that do not fit, an empty region, a map that is not finite.
    """
    maps, regions = checked_regions(maps, regions)
    values, inside = maps.flatten(1), regions.flatten(1)
    count = inside.sum(1)
    threshold = values.sort(1, descending=True).values.gather(1, (count - 1)[:, None])
    above, tied = values > threshold, values == threshold
    drawn = (count - above.sum(1)).double() / tied.sum(1)
    return ((above & inside).sum(1) + drawn * (tied & inside).sum(1)) / count


class RankAccuracy:
    """Column ``rank_accuracy``, on the segmentation, or on the box where a sample has no segmentation; else NaN."""

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the accuracy of every sample."""
        has_mask = batch.segmentations.flatten(1).any(1)
        aims = torch.where(has_mask[:, None, None], batch.segmentations, batch.boxes)
        return {"rank_accuracy": where_known(relevance_rank_accuracy, batch.maps, aims)}
