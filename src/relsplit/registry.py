"""Names for what lives one file each: a rule, a splitting, a protocol."""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from relsplit.errors import InputError

T = TypeVar("T")
Registered = TypeVar("Registered")


class Registry(Generic[T]):
    """Things of one kind by name; each is registered by the file that defines it.

    The files of ``package`` are imported when the first name is looked up, so that a new file needs no entry anywhere.
    A file outside the package registers itself when it is imported.

    Args:
        what: how one of the things is called in an error ("rule").
        package: the package whose files register things.
    """

    def __init__(self, what: str, package: str) -> None:
        self._what = what
        self._package = package
        self._found: dict[str, T] = {}
        self._files: dict[str, str] = {}
        self._complete = False

    def register(self, *names: str) -> Callable[[Registered], Registered]:
        """Return a decorator that gives a thing its names and leaves it as it is.

        Raises:
            InputError: another file has given one of them already; the same file may, when it is imported once more.
        """
        file = sys._getframe(1).f_code.co_filename
        for name in names:
            other = self._files.setdefault(name, file)
            if other != file:
                raise InputError(f"{self._what}: {file} and {other} both register {name!r}: rename one")

        def keep(thing: Registered) -> Registered:
            self._found.update(dict.fromkeys(names, cast(T, thing)))
            return thing

        return keep

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        self._import_all()
        return tuple(sorted(self._found))

    def find(self, name: str) -> T | None:
        """Return what has this name, None where nothing has."""
        self._import_all()
        return self._found.get(name)

    def get(self, name: str, hint: str = "") -> T:
        """Return what has this name.

        Args:
            name: as registered.
            hint: what else could have been given, for the error.

        Raises:
            InputError: nothing has this name; the message lists the names that there are.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(map(repr, self.names()))
            raise InputError(f"{self._what}: {name!r} is unknown: use one of {known}{hint}")
        return found

    def _import_all(self) -> None:
        if not self._complete:
            for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._complete = True
