"""Values that environment variables give (``${oc.env:NAME}``): they are in force, and what was typed is written down.

What stands in a variable may be a secret under any key, so it goes to no file; a run is told from others by its digest.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc

ENVIRONMENT = "oc.env"
"""OmegaConf's resolver of environment variables."""


@dataclass(frozen=True)
class FromEnvironment:
    """A value that comes from the environment, wholly or in part, itself or by way of another setting.

    Attributes:
        value: that is in force; of a list with one such item, the list.
        written: the same as it was typed, with its interpolations: what may be written down.
    """

    value: Any
    written: Any


def filled_in(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain containers, its interpolations filled in.

    Returns:
        What the environment had a part in is a :class:`FromEnvironment`.

    Raises:
        MissingMandatoryValue: a setting has no value.
    """
    with _names_read() as names:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return _marked(config, content) if names else {str(key): value for key, value in content.items()}


def in_force(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of :func:`filled_in` with the values themselves."""
    values: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, FromEnvironment):
            values[key] = value.value
        else:
            values[key] = in_force(value) if isinstance(value, Mapping) else value
    return values


def _marked(config: DictConfig, content: Mapping[Any, Any]) -> dict[str, Any]:
    typed = OmegaConf.to_container(config, resolve=False)
    assert isinstance(typed, dict)
    marked: dict[str, Any] = {}
    for key, value in content.items():
        with _names_read() as names:
            node = config[key]
            if isinstance(node, ListConfig):
                OmegaConf.to_container(node, resolve=True)
        if names:
            marked[str(key)] = FromEnvironment(value, typed[key])
        else:
            marked[str(key)] = _marked(node, value) if isinstance(node, DictConfig) else value
    return marked


_read: ContextVar[list[str] | None] = ContextVar("_read", default=None)


@contextmanager
def _names_read() -> Iterator[list[str]]:
    """Note the variables that are read as long as this lasts."""
    OmegaConf.register_new_resolver(ENVIRONMENT, _noted, replace=True)
    names: list[str] = []
    token = _read.set(names)
    try:
        yield names
    finally:
        _read.reset(token)


def _noted(name: str, *default: Any) -> Any:
    """OmegaConf's own ``oc.env``, which notes what is read."""
    names = _read.get()
    if names is not None:
        names.append(name)
    return oc.env(name, *default)
