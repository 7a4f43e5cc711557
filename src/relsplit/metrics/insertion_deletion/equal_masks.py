"""Which masks of several rankings of an image are the same, found exactly and from the rankings alone."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def first_equal(
    rank: Tensor, units: int, images: int, row: npt.NDArray[np.int64], k: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return, for masks of the first ``k`` units of a ranking, the first ranking of the image whose mask is the same.

    The first k units of two rankings are the same set if, and only if, the ranks that they have in the other one stay
    below k. So the running maximum of these decides it for every k at once, and nothing is compared pixel by pixel.

    Args:
        rank: (R, H, W), see :class:`relsplit.metrics.insertion_deletion.ranking.Ranking`; row r ranks the pixels of
            image ``r % images``. All rows rank the same pixels or blocks.
        units: how many pixels or blocks are ranked.
        images: how many images there are.
        row: (Q,) of each mask.
        k: (Q,) of each mask, from 0 to ``units``.

    Returns:
        (Q,) rows, none of them above ``row``.
    """
    ranks = rank.view(-1, images, rank.shape[1] * rank.shape[2])
    earliest: npt.NDArray[np.int64] = row.copy()
    method, image = np.divmod(row, images)
    for mine in range(1, len(ranks)):
        asked = np.flatnonzero(method == mine)
        place = torch.from_numpy(np.stack([image[asked], np.maximum(k[asked] - 1, 0)])).to(rank.device)
        position = ranks[mine].long()
        for other in reversed(range(mine)):
            # The other's rank of each unit, in this one's order.
            reached = ranks.new_zeros(images, units).scatter_(1, position, ranks[other]).cummax(1).values
            equal = (reached[place[0], place[1]].cpu().numpy() < k[asked]) | (k[asked] == 0)
            earliest[asked[equal]] = other * images + image[asked[equal]]
    return earliest
