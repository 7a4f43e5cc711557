"""Further configurations, beside the one that the command line gives: composed like it, and each file read once."""

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


def compose_further(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration from the folders that the command line's was composed from.

    Args:
        overrides: of this configuration; nothing but ``hydra.searchpath`` is taken over from the command line.

    Raises:
        HydraException: it cannot be composed.
    """
    searched = [text for text in HydraConfig.get().overrides.hydra if text.startswith("hydra.searchpath=")]
    config: DictConfig = compose(HydraConfig.get().job.config_name, [*searched, *overrides])
    return config


class KeptFiles(ConfigRepository):
    """Hydra's repository of configuration files, which keeps what it has parsed.

    A composition makes the nodes that it is given part of its result and changes them, so every one receives its own;
    unpickling them takes a tenth of parsing.
    """

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Search other folders (a composition with a ``hydra.searchpath`` of its own): nothing kept is of these."""
        super().initialize_sources(config_search_path)
        self._kept: dict[str, bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the content of a file; None where there is none."""
        if config_path not in self._kept:
            self._kept[config_path] = pickle.dumps(super().load_config(config_path))
        found: ConfigResult | None = pickle.loads(self._kept[config_path])
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptFiles":
        # Hydra copies the repository for every composition. What is kept shall outlive it, and is never changed.
        return copy.copy(self)


@contextmanager
def files_read_once() -> Iterator[None]:
    """Let :func:`hydra.compose` read every file once as long as this lasts, instead of once a composition.

    The configurations are the same; they take half as long. A file that is changed in the meantime counts as it was.
    """
    loader = GlobalHydra.instance().config_loader()
    usual = loader.repository
    loader.repository = KeptFiles(loader.get_search_path())
    try:
        yield
    finally:
        loader.repository = usual
