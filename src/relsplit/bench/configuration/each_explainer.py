"""From ``task.explainers``, which names several explainers, to an ordinary configuration for each of them."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from relsplit.bench.configuration.composition import compose_further
from relsplit.bench.configuration.configuration import resolved
from relsplit.errors import InputError

_OWN = ("explainer", "map", "split", "output_dir")
"""What explainers that are evaluated together may have each for itself."""


def each_explainer(cfg: DictConfig) -> list[DictConfig]:
    """Return the configurations that ``explainer=NAME`` would give for each name of ``task.explainers``.

    Everything else that was typed holds for all of them. With ``output_dir=DIR`` they go to ``DIR/NAME``.

    Args:
        cfg: a configuration whose settings are checked, composed from a command line.

    Returns:
        One for each name; ``cfg`` alone where ``task.explainers`` is null.

    Raises:
        InputError: an explainer cannot be composed, or the command line chooses one beside the list.
    """
    names = cfg.task.explainers
    if names is None:
        return [cfg]
    if not HydraConfig.initialized():
        raise InputError("task.explainers is for the command line: give measure_together a configuration for each")
    typed = HydraConfig.get().overrides.task
    beside = next((text for text in typed if _key(text) == "explainer"), None)
    if beside is not None:
        raise InputError(f"{beside} and task.explainers both choose explainers: leave one of them out")
    typed = [text for text in typed if _key(text) != "task.explainers"]
    configs = []
    for name in names:
        try:
            config = compose_further([*typed, "task.explainers=null", f"explainer={name}"])
        except HydraException as error:
            raise InputError(f"explainer={name} of task.explainers: {error}") from error
        if config.output_dir is not None:
            config.output_dir = str(Path(config.output_dir, name))
        configs.append(config)
    return configs


def check_together(configs: Sequence[DictConfig]) -> None:
    """Check that evaluations differ in nothing but the explainer and its map.

    Raises:
        InputError: they differ in something else, which is named, or one of them is several evaluations itself.
    """
    if any(config.task.get("explainers") is not None for config in configs):
        raise InputError("task.explainers names several evaluations where one is wanted: give it one explainer")
    if len(configs) == 1:
        return
    first = resolved(configs[0])
    for config in configs[1:]:
        other = resolved(config)
        differing = [key for key in first if key not in _OWN and first[key] != other.get(key)]
        if differing:
            raise InputError(
                f"explainer={config.explainer.name} comes with another {differing[0]} than "
                f"explainer={configs[0].explainer.name}: evaluate it alone"
            )


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
