"""What a number was made with: versions and hardware."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from relsplit.runs.identity import sha256

PACKAGES = ("relsplit", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "captum", "grad-cam", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a number."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def made_with(targets: Iterable[str]) -> dict[str, str]:
    """Return digests of all that computes a number beside the configuration.

    Args:
        targets: import paths that the configuration names, imported already.

    Returns:
        ``package``: this package's source; ``own``: the source files of targets outside of installed packages;
        ``libraries``: the versions of :func:`versions`.
    """
    home = Path(__file__).parents[1]
    package = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        package.update(path.relative_to(home).as_posix().encode() + path.read_bytes())
    own = hashlib.sha256()
    for path in sorted(Path(file) for file in {_source(target) for target in targets} if file is not None):
        if home not in path.parents and not {"site-packages", "dist-packages"} & set(path.parts):
            own.update(path.read_bytes())
    libraries = hashlib.sha256(repr(sorted(versions().items())).encode())
    digests = {"package": package, "own": own, "libraries": libraries}
    return {name: digest.hexdigest()[:12] for name, digest in digests.items()}


def fingerprint(path: Path) -> dict[str, Any]:
    """Return what an image file was when it was read: ``bytes``, ``modified`` (nanoseconds), ``sha256``."""
    state = path.stat()
    return {"bytes": state.st_size, "modified": state.st_mtime_ns, "sha256": sha256(path)}


def is_changed(path: Path, before: Mapping[str, Any]) -> bool:
    """Say whether a file has another content than when its fingerprint was taken; it is only read if it looks so."""
    state = path.stat()
    if (state.st_size, state.st_mtime_ns) == (before["bytes"], before["modified"]):
        return False
    return bool(state.st_size != before["bytes"] or sha256(path) != before["sha256"])


def _source(target: str) -> str | None:
    """The file of an imported target's module, None where it has none."""
    steps = target.split(".")
    for count in range(len(steps) - 1, 0, -1):
        module = sys.modules.get(".".join(steps[:count]))
        if module is not None:
            return getattr(module, "__file__", None)
    return None


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
