"""How many images pass a network at once, where the user may leave that to the device."""

from __future__ import annotations

import torch

from reslrp.options import at_least_one


def check_batch_size(batch_size: int | None) -> None:
    """Raises InputError unless ``batch_size`` is None or a whole number of at least 1."""
    if batch_size is not None:
        at_least_one(batch_size=batch_size)


def images_per_pass(batch_size: int | None, device: torch.device, pixels: int) -> int:
    """``batch_size``; for None, what suits the device: 64 on a GPU, on a CPU 4 images of 224x224 ``pixels``.

    On a CPU the pixels are kept constant: allocations of more than 32 MiB are slow.
    """
    if batch_size is not None:
        return batch_size
    return 64 if device.type == "cuda" else max(1, 4 * 224**2 // pixels)
