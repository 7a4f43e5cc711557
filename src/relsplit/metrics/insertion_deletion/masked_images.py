"""The distinct masked images that a set of curves needs, listed on the host and built on the device."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from relsplit.metrics.insertion_deletion.equal_masks import first_equal


class Substrate(NamedTuple):
    """What masks of one kind are made from.

    Attributes:
        rank: (R, H, W), see :class:`relsplit.metrics.insertion_deletion.ranking.Ranking`; row r ranks the pixels of
            image ``r % N``, so R is N for each method whose maps are masked with.
        units: how many pixels or blocks are ranked.
        baseline: the image of taken-away pixels, (1, C, 1, 1) if one colour serves all samples, else (N, C, H, W).
    """

    rank: Tensor
    units: int
    baseline: Tensor


class MaskedImages:
    """Masked images without repetition.

    A request is (substrate, row, deletion, k): the first k units of a ranking come from its image and the rest from the
    baseline, or, with deletion = 1, the other way round. Requests for the same picture share one item: the full
    image (all inserted, or nothing deleted), the bare baseline (nothing inserted, or all deleted), which a single
    colour shares between all samples, and k units that several rankings of an image put first, in whatever order. (A
    deletion that leaves what an insertion shows is not looked for: of one ranking there is none but these two, and two
    would have to be each other's reverse.)

    Args:
        images: (N, C, H, W).
        substrates: of the kinds of masks.
        requests: (Q, 4), each (substrate, row, deletion, k).
        half: None builds in the images' precision; torch.bfloat16 or torch.float16 builds what rounding that would
            give, channels last in memory: a pixel is the image's or the baseline's, so both are rounded once. Which
            of the two it is stays exact.
    """

    def __init__(
        self,
        images: Tensor,
        substrates: list[Substrate],
        requests: npt.NDArray[np.int64],
        half: torch.dtype | None = None,
    ) -> None:
        substrate, _, deletion, k = requests.T
        units = np.array([s.units for s in substrates])[substrate]
        one_colour = np.array([len(s.baseline) == 1 for s in substrates])[substrate]
        full = k == np.where(deletion, 0, units)
        bare = k == np.where(deletion, units, 0)
        canonical = requests.copy()
        for position, each in enumerate(substrates):
            here = substrate == position
            canonical[here, 1] = first_equal(each.rank, each.units, len(images), requests[here, 1], k[here])
        canonical[full] = canonical[full] * [0, 1, 0, 0] + [0, 0, 1, 0]  # nothing deleted
        canonical[bare] = canonical[bare] * [1, 1, 0, 0]  # nothing inserted
        canonical[bare & one_colour, 1] = 0
        items, index = np.unique(canonical, axis=0, return_inverse=True)

        self.item_of_request: npt.NDArray[np.int64] = index.reshape(-1)
        """(Q,) the item that shows each request."""
        substrate, row, deletion, k = torch.from_numpy(items.T.copy())
        sample = row % len(images)
        ranks = torch.stack([s.rank for s in substrates])
        baselines = torch.stack(torch.broadcast_tensors(*[s.baseline for s in substrates]))
        per_substrate = baselines.shape[1]  # 1, or one for each sample
        self._shape = images.shape[1:]
        self._half = half
        if half is None:
            self._images = images
            self._ranks = ranks.flatten(0, 1)
            self._baselines = baselines.flatten(0, 1)
        else:
            hidden = _bits(baselines.expand(-1, -1, *self._shape), half)
            repeated = ranks.unsqueeze(-1).expand(*ranks.shape, images.shape[1])
            self._ranks = repeated.flatten(2).flatten(0, 1)
            self._changes = (_bits(images, half) ^ hidden).flatten(0, 1)
            self._baselines = hidden.flatten(0, 1)
        self._sample = sample.to(images.device)
        self._rank = (substrate * ranks.shape[1] + row).to(images.device)
        self._baseline = (substrate * per_substrate + sample % per_substrate).to(images.device)
        self._deletion = deletion.bool().view(-1, 1, 1).to(images.device)
        self._k = k.int().view(-1, 1, 1).to(images.device)

    def __len__(self) -> int:
        return len(self._sample)

    def build(self, start: int, stop: int) -> Tensor:
        """Return items ``start`` to ``stop`` as images (stop - start, C, H, W)."""
        here = slice(start, stop)
        if self._half is not None:
            return self._build_half(here, self._half)
        images = self._images.index_select(0, self._sample[here])
        kept = (self._ranks.index_select(0, self._rank[here]) < self._k[here]) != self._deletion[here]
        # lerp is exact at weights 0 and 1 and, on the CPU, several times as fast as torch.where
        return torch.lerp(self._baselines[self._baseline[here]], images, kept.unsqueeze(1).to(images.dtype))

    def _build_half(self, here: slice, half: torch.dtype) -> Tensor:
        """As bits, on one contiguous axis: on the CPU several times as fast as arithmetic in half precision."""
        deletion, k = self._deletion[here].flatten(1), self._k[here].flatten(1)
        kept = (self._ranks.index_select(0, self._rank[here]) < k) != deletion
        bits = self._changes.index_select(0, self._rank[here]).mul_(kept.view(torch.uint8))
        baselines = self._baselines if len(self._baselines) == 1 else self._baselines[self._baseline[here]]
        channels, height, width = self._shape
        return bits.bitwise_xor_(baselines).view(half).view(-1, height, width, channels).permute(0, 3, 1, 2)


def _bits(images: Tensor, half: torch.dtype) -> Tensor:
    """Images (..., C, H, W) in half precision as int16 (..., H W C)."""
    return images.to(half).movedim(-3, -1).contiguous().view(torch.int16).flatten(-3)
