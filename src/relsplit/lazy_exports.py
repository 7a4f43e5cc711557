"""A package's face whose names are imported when they are first used: one method does not need all libraries."""

import ast
import importlib
import sys
from collections.abc import Callable
from importlib import resources
from typing import Any

from relsplit.extras import with_extra


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return what a package needs as its ``__getattr__``, ``__dir__`` and ``__all__``.

    The names and where they live are read from the package's ``__init__.pyi``, which type checkers read, too: lines
    ``from module import Name as Name``.

    Args:
        package: its ``__name__``.
    """
    stub = ast.parse(resources.files(package).joinpath("__init__.pyi").read_text(encoding="utf-8"))
    homes = {
        alias.asname or alias.name: str(node.module)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(homes[name])
        except ModuleNotFoundError as error:
            raise with_extra(error, package) from None
        return getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)
