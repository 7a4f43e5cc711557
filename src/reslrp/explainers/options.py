"""Checks of numbers that several explainers take."""

from __future__ import annotations

from reslrp.errors import InputError


def at_least_one(**values: int) -> None:
    """Raises InputError unless every value is a whole number of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises InputError unless ``value`` is one of ``known``."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")
