"""Running a network for a measurement: batch by batch, as many images as fit, in evaluation mode, left as it was."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.networks.inference_copy import Precision
from relsplit.networks.views import running_view
from relsplit.options import Count, checked_options


def images_per_pass(batch_size: int | None, device: torch.device, pixels: int, precision: Precision = "fp32") -> int:
    """Return ``batch_size``; for None, what suits the device: 64 on an accelerator, on a CPU 4 images of 224x224.

    On a CPU, by the number of ``pixels``, the memory is kept constant, allocations of more than 32 MiB are slow:
    in half precision twice the images.
    """
    if batch_size is not None:
        return batch_size
    return 64 if device.type != "cpu" else max(1, (4 if precision == "fp32" else 8) * 224**2 // pixels)


@checked_options
@dataclass
class BatchSize:
    """Images per forward pass; halved, for good, when they do not fit into memory.

    Args:
        value: at the beginning.

    Raises:
        InputError: ``value`` is no whole number of at least 1.
    """

    value: Count = 32

    def halve(self) -> None:
        """Halve the value and say so."""
        self.value //= 2
        warnings.warn(f"out of memory: the batch size is halved to {self.value} images", RuntimeWarning, stacklevel=2)


def release_cached_memory() -> None:
    """Give back what an accelerator's allocator keeps for later, where there is one that does."""
    empty = getattr(torch.get_device_module(), "empty_cache", None)
    if empty is not None:
        empty()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Without autograd, the network itself, or if a part of it is in training mode a view of it that is not.

    Other threads may go on training it.
    """
    network = running_view(model) if any(module.training for module in model.modules()) else model
    with torch.inference_mode():
        yield network


def outputs_in_batches(
    network: nn.Module, total: int, build: Callable[[int, int], Tensor], batch_size: BatchSize
) -> Iterator[tuple[int, int, Any]]:
    """Yield ``(start, stop, output)``, what the network returns for inputs ``build(start, stop)``.

    Only one batch of inputs exists at a time. After torch.OutOfMemoryError the same inputs are tried again in
    batches of half the size; at one image the error is the caller's.
    """
    start = 0
    while start < total:
        stop = min(start + batch_size.value, total)
        fits = True
        try:
            output = network(build(start, stop))
        except torch.OutOfMemoryError:
            if batch_size.value == 1:
                raise
            fits = False
        if not fits:  # outside the handler, whose traceback keeps the failed batch alive
            batch_size.halve()
            release_cached_memory()
            continue
        yield start, stop, output
        start = stop
