"""An order of training samples that depends on the seed and the epoch alone."""

from collections.abc import Iterator, Sized
from typing import Any

from torch.utils.data import DistributedSampler


class EpochSampler(DistributedSampler[Any]):
    """Yields ``(epoch, index)``, the keys of :class:`relsplit.bench.data.dataset.ImageDataset`.

    Lightning calls ``set_epoch`` before every epoch, after a resumption too, so an interrupted training goes on with
    the order it would have had; and it leaves a sampler alone that shares its samples out over processes by itself.

    Args:
        samples: anything of the right length.
        seed: of the order.
        shuffle: False keeps the samples' own order in every epoch.
        num_replicas: number of processes, and which of them this is.
        rank: see ``num_replicas``.
    """

    def __init__(self, samples: Sized, seed: int, shuffle: bool, num_replicas: int = 1, rank: int = 0) -> None:
        # The base class permutes with seed + epoch: far-apart seeds keep runs with seeds 40 and 41 from sharing orders.
        super().__init__(samples, num_replicas, rank, shuffle, seed=seed * 1_000_003)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        return ((epoch, index) for index in super().__iter__())
