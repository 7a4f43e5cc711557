"""Full float32 products on a GPU, where convolutions are rounded to TF32 by default.

TF32 keeps ten bits of each factor. The denominators and the transposed products of a rule would then be rounded apart,
and relevance would be conserved to three digits only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_LOCK = threading.Lock()
_inside = 0
_before: tuple[Any, ...] = ()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch TF32 off within, if ``device`` is a GPU.

    PyTorch knows the setting per process only: the last thread to leave restores what the first one found.
    """
    if device.type != "cuda":
        yield
        return
    global _inside, _before
    with _LOCK:
        if _inside == 0:
            _before = _exchange(("ieee", "ieee") if _by_name() else (False, False))
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _exchange(_before)


def _by_name() -> bool:
    """PyTorch 2.9 named the precisions; reading the older switches fails once somebody has used the names."""
    return hasattr(torch.backends.cudnn, "conv")


def _exchange(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Set convolutions' and products' precision and return what they were."""
    convolutions: Any = torch.backends.cudnn  # Any: each PyTorch has other attributes there
    products: Any = torch.backends.cuda.matmul
    if _by_name():
        found = convolutions.conv.fp32_precision, products.fp32_precision
        convolutions.conv.fp32_precision, products.fp32_precision = values
    else:
        found = convolutions.allow_tf32, products.allow_tf32
        convolutions.allow_tf32, products.allow_tf32 = values
    return found
