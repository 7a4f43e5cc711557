"""The composed configuration as plain containers, what identifies it, and the folder that belongs to it."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from reslrp.results.run_config import config_hash


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """All interpolations filled in, as plain containers."""
    container: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    return container


FILES = (("model", "checkpoint"), ("model", "weights"), ("dataset", "manifest"))
"""Settings that may name a file of the user's."""


def identified(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the SHA-256 of the files that it names (``model.checkpoint_sha256`` and so on, None where
    there is no file): numbers belong to what a file holds, not to its name."""
    marked = {**config, **{group: dict(config[group]) for group, _ in FILES}}
    for group, name in FILES:
        path = config[group].get(name)
        is_file = path is not None and Path(path).is_file()
        marked[group][f"{name}_sha256"] = sha256(Path(path)) if is_file else None
    return marked


def without_digests(cfg: DictConfig) -> DictConfig:
    """The configuration of a run folder's ``config.yaml`` as it was before :func:`identified`."""
    for group, name in FILES:
        cfg[group].pop(f"{name}_sha256", None)
    return cfg


def sha256(path: Path) -> str:
    """Of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def typed_command() -> str | None:
    """The command that started this run, of a sweep this point's alone; None for a call from Python."""
    if not HydraConfig.initialized():
        return None
    return shlex.join(["python", "run.py", *HydraConfig.get().overrides.task])


def explainer_title(config: dict[str, Any]) -> str:
    """Name of the explainer, with the splitting where it has one: "ours-ratio", "grad_cam"."""
    split = split_name(config)
    return f"{config['explainer']['name']}-{split}" if split else str(config["explainer"]["name"])


def split_name(config: dict[str, Any]) -> str | None:
    """Name of the splitting that the explainer uses, None where it has none."""
    split = config["explainer"].get("split")
    if isinstance(split, dict):
        return str(split["_target_"]).rsplit(".", 1)[-1]
    return None if split is None else str(split)


def run_folder(task: str, config: dict[str, Any]) -> Path:
    """``output_dir``, or the folder that the choices and the hash of the configuration name.

    Equal configurations share a folder, so whatever needs the same evaluation twice finds it done.
    """
    if config["output_dir"] is not None:
        return Path(config["output_dir"])
    parts = (config["dataset"]["name"], config["model"]["name"], f"{explainer_title(config)}-{config_hash(config)}")
    return Path("outputs", task, *parts)
