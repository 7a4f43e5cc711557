"""What a number was made with: versions and hardware."""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("relsplit", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "captum", "grad-cam", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a number."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # on the path, but not installed
        return "not installed"


def hardware(accelerator: str, processes: int) -> dict[str, str | int]:
    """The machine, in words.

    Args:
        accelerator: name of the device that computed ("cpu" or the GPU's name).
        processes: number of processes that took part.
    """
    return {
        "accelerator": accelerator,
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "processes": processes,
        "system": platform.platform(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
