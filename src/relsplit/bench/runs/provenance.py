"""What a number was made with: versions and hardware."""

import functools
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from relsplit.bench.configuration.identity import sha256

HOME = Path(__file__).parents[2]
PACKAGES = ("relsplit", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "captum", "grad-cam", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a number."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def made_with(code: Iterable[str]) -> dict[str, str]:
    """Return digests of all that computes a number beside the configuration.

    Args:
        code: import paths that the configuration names; none of an installed package is imported.

    Returns:
        ``package``: this package's source; ``own``: the source files of what is named outside of installed packages;
        ``libraries``: the versions of :func:`versions`.
    """
    return {"package": _package(), "own": own_code(code), "libraries": _libraries()}


def own_code(code: Iterable[str]) -> str:
    """Return a digest of the user's own source files among those of import paths, see :func:`made_with`."""
    digest = hashlib.sha256()
    for path in sorted({path for each in code if (path := _own_source(each)) is not None}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _package() -> str:
    digest = hashlib.sha256()
    for path in sorted(HOME.rglob("*.py")):
        digest.update(path.relative_to(HOME).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _libraries() -> str:
    return hashlib.sha256(repr(sorted(versions().items())).encode()).hexdigest()[:12]


def is_changed(path: Path, before: Mapping[str, Any]) -> bool:
    """Say whether a file is gone, or has another content than when it was read; it is only read again if it looks so.

    Args:
        path: of the file.
        before: its fingerprint, see :func:`relsplit.bench.data.image_reading.read_file`.
    """
    try:
        state = path.stat()
        if (state.st_size, state.st_mtime_ns) == (before["bytes"], before["modified"]):
            return False
        return bool(state.st_size != before["bytes"] or sha256(path) != before["sha256"])
    except OSError:
        return True


def _own_source(import_path: str) -> Path | None:
    """The file of the module where it is the user's own, None where it is of an installed package or of this."""
    found = None
    steps = import_path.split(".")
    for count in range(1, len(steps)):
        file = _file(".".join(steps[:count]))
        if file is None:  # a folder without __init__.py, or no module any more
            continue
        found = Path(file)
        if HOME in found.parents or {"site-packages", "dist-packages"} & set(found.parts):
            return None
    return found


def _file(module: str) -> str | None:
    """A module's file, of one that is not imported yet by importing no more than the packages around it."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__file__", None)
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # the package around it is the user's and fails, or is none: whoever imports it says so
        return None
    return spec.origin if spec is not None and spec.has_location else None


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
