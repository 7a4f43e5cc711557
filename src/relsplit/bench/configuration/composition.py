"""Configurations as Hydra composes them: further ones beside the command line's, whose files are each read once."""

import copy
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue

from relsplit.bench.configuration.environment import filled_in
from relsplit.errors import InputError


class CachedFiles(ConfigRepository):
    """Hydra's repository of configuration files, which remembers what it has parsed.

    A composition makes the nodes that it is given part of its result and changes them, so every one receives its own;
    unpickling them takes a tenth of parsing.
    """

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Search other folders (a composition with a ``hydra.searchpath`` of its own): nothing was read there."""
        super().initialize_sources(config_search_path)
        self._cached: dict[str, bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the content of a file; None where there is none."""
        if config_path not in self._cached:
            self._cached[config_path] = pickle.dumps(super().load_config(config_path))
        found: ConfigResult | None = pickle.loads(self._cached[config_path])
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> "CachedFiles":
        # Hydra copies the repository for every composition. What is remembered shall outlive it, and is never changed.
        return copy.copy(self)


@contextmanager
def files_read_once() -> Iterator[None]:
    """Let :func:`hydra.compose` read every file once as long as this lasts, instead of once a composition.

    The configurations are the same; they take half as long. A file that is changed in the meantime counts as it was.
    """
    loader = GlobalHydra.instance().config_loader()
    usual = loader.repository
    loader.repository = CachedFiles(loader.get_search_path())
    try:
        yield
    finally:
        loader.repository = usual


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration from the folders that the command line's was composed from.

    Args:
        overrides: of this configuration; nothing but ``hydra.searchpath`` is taken over from the command line.

    Raises:
        HydraException: it cannot be composed.
    """
    searched = [text for text in HydraConfig.get().overrides.hydra if text.startswith("hydra.searchpath=")]
    config: DictConfig = compose(HydraConfig.get().job.config_name, [*searched, *overrides])
    return config


def resolved(config: DictConfig, **others: Any) -> dict[str, Any]:
    """Return what was composed as plain containers, with every interpolation filled in.

    What the environment gave is a :class:`relsplit.bench.configuration.environment.FromEnvironment`.

    Args:
        config: as Hydra composed it.
        others: values of top-level keys, which interpolations follow.

    Raises:
        InputError: a setting has no value.
    """
    if any(config.get(key) != value for key, value in others.items()):
        config = config.copy()
        for key, value in others.items():
            config[key] = value
    try:
        return filled_in(config)
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key} is not set: give {error.full_key}=VALUE") from error
