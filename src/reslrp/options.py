"""Checks of option values, wherever in the configuration they stand."""

from __future__ import annotations

from reslrp.errors import InputError


def whole_number(name: str, value: object, minimum: int) -> None:
    """Raises InputError unless ``value`` is a whole number of at least ``minimum``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise InputError(f"{name} must be a whole number of at least {minimum}, not {value!r}")


def at_least_one(**values: int) -> None:
    """Raises InputError unless every value is a whole number of at least 1."""
    for name, value in values.items():
        whole_number(name, value, 1)


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises InputError unless ``value`` is one of ``known``."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")
