"""Batches that data-loading processes send through a pipe.

torch sends tensors through shared memory (``/dev/shm``). Where that is full, as in a container with its usual 64 MB, a
batch is lost without a word and whoever waits for it waits forever. Arrays of NumPy go through the pipe itself: 80 ms
for 32 images of 224x224 where shared memory takes 30. An evaluation, which takes seconds for a batch, always does that;
a training where shared memory is scarce.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_arrays(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose tensors are arrays, which share their memory; those on a GPU stay what they are."""

    def as_array(value: Any) -> Any:
        return value.numpy() if isinstance(value, Tensor) and value.device.type == "cpu" else value

    return {key: as_array(value) for key, value in content.items()}


def as_tensors(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose arrays are tensors again; the inverse of :func:`as_arrays`."""
    return {key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for key, value in content.items()}


SHARED_MEMORY = Path("/dev/shm")
SECONDS_WITHOUT_A_BATCH = 900
"""After which a data-loading process counts as lost (``timeout`` of torch's ``DataLoader``)."""


def shared_memory_is_scarce(batch_bytes: int, num_workers: int, processes: int = 1) -> bool:
    """Say whether batches that are loaded ahead might not fit into shared memory.

    Args:
        batch_bytes: of a batch.
        num_workers: data-loading processes, each of which is two batches ahead.
        processes: that train on this machine and have as many each.
    """
    if not SHARED_MEMORY.is_dir():
        return False
    return shutil.disk_usage(SHARED_MEMORY).free < 2 * batch_bytes * (3 * num_workers + 1) * processes


class PipedTuple(tuple[Tensor, ...]):
    """Tensors that arrive in another process as a plain tuple of them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, tuple(tensor.numpy() for tensor in self)


def collate_piped(items: Sequence[tuple[Tensor, int | Tensor]]) -> PipedTuple:
    """Join (image, target) items into (images, targets), as torch does by default, but not in shared memory."""
    images, targets = zip(*items, strict=True)
    return PipedTuple((torch.stack(images), torch.stack([torch.as_tensor(target) for target in targets])))


def _received(*arrays: Any) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays)
