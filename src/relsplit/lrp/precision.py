"""Full float32 products on a GPU, where convolutions are rounded to TF32 by default.

TF32 keeps ten bits of each factor. The denominators and the transposed products of a rule would then be rounded apart,
and relevance would be conserved to three digits only.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_LOCK = threading.Lock()
_inside = 0
_restore: list[Callable[[], None]] = []


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch TF32 off within, if ``device`` is a GPU.

    PyTorch knows the setting per process only: the last thread to leave restores what the first one found.
    """
    if device.type != "cuda":
        yield
        return
    global _inside, _restore
    with _LOCK:
        if _inside == 0:
            _restore = [_switch_off(*_settings(convolution)) for convolution in (True, False)]
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                for restore in _restore:
                    restore()


def is_in_full(device: torch.device, convolution: bool) -> bool:
    """Say whether convolutions, or other products, of float32 are not rounded to TF32 on ``device`` now."""
    return device.type != "cuda" or not _is_allowed(*_settings(convolution))


def _settings(convolution: bool) -> tuple[Any, Any]:
    """Return who owns the older switch, and who the named precision."""
    backends: Any = torch.backends  # Any: each PyTorch has other attributes there
    if convolution:
        return backends.cudnn, getattr(backends.cudnn, "conv", None)
    return backends.cuda.matmul, backends.cuda.matmul


def _is_allowed(owner: Any, named: Any) -> bool:
    try:
        return bool(owner.allow_tf32)
    except RuntimeError:
        return bool(named.fp32_precision != "ieee")


def _switch_off(owner: Any, named: Any) -> Callable[[], None]:
    """Forbid TF32 and return what allows it again.

    PyTorch 2.9 gave the precisions names (``fp32_precision``) and kept the older switch (``allow_tf32``), which cannot
    be read once somebody has used the names; what was set one way is put back that way.
    """
    try:
        allowed = owner.allow_tf32
    except RuntimeError:
        precision = named.fp32_precision
        named.fp32_precision = "ieee"
        return lambda: setattr(named, "fp32_precision", precision)
    owner.allow_tf32 = False
    return lambda: setattr(owner, "allow_tf32", allowed)
