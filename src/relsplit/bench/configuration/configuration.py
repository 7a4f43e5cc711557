"""The composed configuration as plain containers, the names it gives, and the folder that belongs to it."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from relsplit.bench.runs.identity import command_without_secrets, config_hash


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return plain containers with all interpolations filled in."""
    container: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    return container


def targets(config: Any) -> Iterator[str]:
    """Yield every ``_target_`` in a configuration."""
    if isinstance(config, dict):
        if isinstance(config.get("_target_"), str):
            yield config["_target_"]
        for value in config.values():
            yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


def typed_texts() -> list[str]:
    """Return the overrides that started this run as they were typed: ``${oc.env:X}`` is not what X holds."""
    texts: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[assignment]
    return texts


def typed_command() -> str | None:
    """Return the command that started this run, of a sweep this point's alone; None for a call from Python."""
    if not HydraConfig.initialized():
        return None
    return shlex.join(["relsplit", *command_without_secrets(typed_texts())])


def is_typed(group: str) -> bool:
    """Say whether the command line chose a group or one of its settings; False for a call from Python."""
    if not HydraConfig.initialized():
        return False
    typed = HydraConfig.get().overrides.task
    return any(text.lstrip("+~").startswith((f"{group}=", f"{group}.", f"{group}@")) for text in typed)


def explainer_title(config: dict[str, Any]) -> str:
    """Return the name of the explainer, with the splitting where it has one: "ours-ratio", "grad_cam"."""
    split = split_name(config)
    return f"{config['explainer']['name']}-{split}" if split else str(config["explainer"]["name"])


def run_title(config: dict[str, Any]) -> str:
    """Return what is explained by what, in words: "ours-ratio on demo"."""
    return f"{explainer_title(config)} on {config['dataset']['name']}"


def split_name(config: dict[str, Any]) -> str | None:
    """Return the name of the splitting that the explainer uses, None where it has none."""
    split = config["explainer"].get("split")
    if isinstance(split, dict):
        return str(split["_target_"]).rsplit(".", 1)[-1]
    return None if split is None else str(split)


def run_folder(task: str, config: dict[str, Any]) -> Path:
    """Return ``output_dir``, or the folder that the choices and the hash of the configuration name.

    Equal configurations share a folder, so whatever needs the same evaluation twice finds it done.
    """
    if config["output_dir"] is not None:
        return Path(config["output_dir"])
    parts = (config["dataset"]["name"], config["model"]["name"], f"{explainer_title(config)}-{config_hash(config)}")
    return Path("outputs", task, *parts)
