"""What lies in the folders of a package, so that tests find what is new by themselves."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def classes_with(method: str, package: ModuleType) -> dict[str, type[Any]]:
    """The public classes of a package's own files, folders in it included, that have a method; by name.

    A protocol or an abstract class is none of which anything could be made.
    """
    found: dict[str, type[Any]] = {}
    for module in _modules(package):
        for name, each in vars(module).items():
            own = isinstance(each, type) and each.__module__ == module.__name__ and not name.startswith("_")
            is_made = own and not getattr(each, "_is_protocol", False) and not inspect.isabstract(each)
            if is_made and hasattr(each, method):
                found[name] = each
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(info.name)
