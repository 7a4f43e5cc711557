"""Which pixels every point of the curves shows, as one small number per pixel.

Every mask of a curve is a prefix of one ranking. So the counts of all points cut the ranking into bands, and a point
shows the first few of them: who has the bands can mask the image without the ranking.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from relsplit.metrics.insertion_deletion.protocols.protocol import Protocol
from relsplit.metrics.insertion_deletion.ranking import level_ends, rank_pixels


class Bands(NamedTuple):
    """The bands of one image's pixels.

    Attributes:
        band: (H, W) int64, from 0 (the most relevant pixels) on.
        shown: by protocol (P,) int64; point i of its insertion curve shows the pixels with ``band < shown[i]``, and
            point i of its deletion curve those with ``band >= shown[i]``.
    """

    band: npt.NDArray[np.int64]
    shown: dict[str, npt.NDArray[np.int64]]


def bands_of(
    maps: Tensor, protocols: Mapping[str, Protocol], patch: int = 1, levels: Tensor | None = None
) -> list[Bands]:
    """Cut the rankings of maps where points of the curves lie.

    Args:
        maps: (N, H, W), finite, as they are scored.
        protocols: by name, all of this ``patch``.
        patch: side of the blocks that move as one.
        levels: (N, H, W) whole numbers that never rise where the map falls, say its colours: then a band holds pixels
            of one level alone. Only for ``patch`` 1.

    Returns:
        The bands of each map.
    """
    ranking = rank_pixels(maps, patch)
    found = []
    for index, (rank, values) in enumerate(zip(ranking.rank.cpu(), ranking.values.cpu(), strict=True)):
        lengths = {name: protocol.points(values).lengths for name, protocol in protocols.items()}
        ends = list(lengths.values())
        if levels is not None:
            ends.append(level_ends(levels[index].flatten().sort(descending=True).values))
        cuts = torch.cat(ends).unique()
        cuts = cuts[cuts > 0]
        shown = {name: torch.searchsorted(cuts, each, right=True).numpy() for name, each in lengths.items()}
        found.append(Bands(torch.searchsorted(cuts, rank.long(), right=True).numpy(), shown))
    return found
