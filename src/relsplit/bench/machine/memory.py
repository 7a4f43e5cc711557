"""How the C library keeps the memory that a process frees."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Let the C library hand freed memory out again instead of returning it to the system at once.

    glibc gives every large block (a layer's activations) back when it is freed and asks for it anew, and the system
    clears it page by page: on two cores of a virtual machine three quarters of a MobileNet's forward pass of 32 images
    (benchmarks/memory_reuse.py). Up to 2 GiB stay with the process. Without effect where the C library has no mallopt.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(MMAP_THRESHOLD, 2**30)
