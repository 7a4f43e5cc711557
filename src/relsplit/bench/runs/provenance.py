"""What a number was made with: versions and hardware."""

import ast
import functools
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

from relsplit.bench.configuration.identity import sha256

HOME = Path(__file__).parents[2]
INSTALLED = {"site-packages", "dist-packages"}
PACKAGES = ("relsplit", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "captum", "grad-cam", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a number."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def made_with(code: Iterable[str]) -> dict[str, str]:
    """Return digests of all that computes a number beside the configuration.

    Args:
        code: import paths that the configuration names; none of an installed package is imported.

    Returns:
        ``package``: this package's source; ``own``: the source files of what is named outside of installed packages,
        and of what these import there; ``libraries``: the versions of :func:`versions`.
    """
    return {"package": _package(), "own": own_code(code), "libraries": _libraries()}


def own_code(code: Iterable[str]) -> str:
    """Return a digest of the user's own source files among those of import paths, see :func:`made_with`.

    What these files import counts, too, as far as it is the user's own.
    """
    found: dict[Path, bytes] = {}
    left = list(code)
    while left:
        module = _own_module(left.pop())
        if module is not None and module[1] not in found:
            name, file = module
            found[file] = file.read_bytes()
            left.extend(_imports(name, file, found[file]))
    digest = hashlib.sha256()
    for file in sorted(found):
        digest.update(found[file])
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


def _own_module(import_path: str) -> tuple[str, Path] | None:
    """The last module of an import path where it is the user's own, by name and file; it is not imported for that."""
    first, *steps = import_path.split(".")
    file, folders = _place(first)
    found = None if file is None else (first, file)
    for count, step in enumerate(steps, start=1):
        if _is_installed(first, found):
            return None
        file, folders = _place_inside(folders, step)
        if file is not None:
            found = ".".join([first, *steps[:count]]), file
    return None if _is_installed(first, found) else found


def _is_installed(first: str, found: tuple[str, Path] | None) -> bool:
    """Say whether what was found below a first name is of Python, of an installed package, or of this one."""
    if first in sys.stdlib_module_names:
        return True
    return found is not None and (HOME in found[1].parents or bool(INSTALLED & set(found[1].parts)))


def _place(module: str) -> tuple[Path | None, list[Path]]:
    """The file of a module that is in no other, and where its own modules lie.

    None where it is a folder without ``__init__.py``, or nothing; no folders where it has no modules of its own.
    """
    if module in sys.modules:
        known = sys.modules[module]
        file, folders = getattr(known, "__file__", None), getattr(known, "__path__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):  # no name that a module can have: whoever imports it says so
            spec = None
        file = spec.origin if spec is not None and spec.has_location else None
        folders = None if spec is None else spec.submodule_search_locations
    return None if file is None else Path(file), [Path(folder) for folder in folders or ()]


def _place_inside(folders: Iterable[Path], name: str) -> tuple[Path | None, list[Path]]:
    """As :func:`_place`, for a module of a package whose modules lie in these folders; nothing is imported."""
    for folder in folders:
        if (folder / name / "__init__.py").is_file():
            return folder / name / "__init__.py", [folder / name]
        for suffix in all_suffixes():
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}", []
    return None, [folder / name for folder in folders if (folder / name).is_dir()]


def _imports(module: str, file: Path, source: bytes) -> Iterator[str]:
    """The import paths of all that a module imports by statement, at its top or later."""
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # whoever imports it says so
        return
    around = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = around[: len(around) + 1 - node.level] if node.level else []
            home += [node.module] if node.module else []
            yield from (".".join([*home, alias.name]) for alias in node.names)


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
