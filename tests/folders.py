"""What lies in the folders of a package, so that tests find what is new by themselves."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def classes_with(method: str, package: ModuleType) -> dict[str, type[Any]]:
    """The public classes of a package's own files, folders in it included, that have a method; by name."""
    found: dict[str, type[Any]] = {}
    for module in _modules(package):
        for name, each in vars(module).items():
            own = isinstance(each, type) and each.__module__ == module.__name__ and not name.startswith("_")
            if own and hasattr(each, method) and not getattr(each, "_is_protocol", False):
                found[name] = each
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(info.name)
