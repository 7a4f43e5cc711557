"""Running a network for a measurement: batch by batch, as many images as fit, in evaluation mode, left as it was."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.networks.inference_copy import Precision
from relsplit.options import Count, checked_options


def images_per_pass(batch_size: int | None, device: torch.device, pixels: int, precision: Precision = "fp32") -> int:
    """Return ``batch_size``; for None, what suits the device: 64 on a GPU, on a CPU 4 images of 224x224 ``pixels``.

    On a CPU the memory is kept constant, allocations of more than 32 MiB are slow: in half precision twice the images.
    """
    if batch_size is not None:
        return batch_size
    return 64 if device.type == "cuda" else max(1, (4 if precision == "fp32" else 8) * 224**2 // pixels)


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


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without autograd; every module's own mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def probabilities_in_batches(
    model: nn.Module, total: int, build: Callable[[int, int], Tensor], batch_size: BatchSize
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield ``(start, stop, softmax probabilities (stop - start, classes))`` over inputs ``build(start, stop)``.

    Only one batch of inputs exists at a time. After torch.OutOfMemoryError the same inputs are tried again in
    batches of half the size; at one image the error is the caller's.

    Raises:
        InputError: the model does not return logits (N, classes).
    """
    start = 0
    while start < total:
        stop = min(start + batch_size.value, total)
        try:
            logits = model(build(start, stop))
        except torch.OutOfMemoryError:
            if batch_size.value == 1:
                raise
            logits = None
        if logits is None:  # outside the handler, whose traceback keeps the failed batch alive
            batch_size.halve()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != stop - start:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"the model must return logits (N, classes), not {found}")
        yield start, stop, logits.float().softmax(1) if logits.dtype.itemsize < 4 else logits.softmax(1)
        start = stop
