"""Which configuration a run folder belongs to, and whether another run may go on in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reslrp.errors import InputError
from reslrp.results.append_log import write_atomically

EXECUTION_KEYS = (
    "output_dir",
    "device",
    "data_dir",
    "trainer",
    "logger",
    "model.checkpoint",
    "dataset.manifest",
    "dataset.num_workers",
    "dataset.batch_size",
    "dataset.datamodule",
    "task.batch_size",
    "task.forward_batch_size",
    "task.pictures",
    "reproduce",
)
"""Keys that say how or where an evaluation is carried out. They do not change what is measured, so they may change
between two starts of the same run. (The checkpoint and the manifest count by their content, not by their path;
``reproduce`` lays out a table of which the run may be a row.)"""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to ``{"dotted.key": value}``; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that decides the numbers, flattened."""
    found = {
        key: value
        for key, value in flatten(config).items()
        if not any(key == name or key.startswith(f"{name}.") for name in EXECUTION_KEYS)
    }
    # Their order is that of the columns, and the first protocol's columns bear no suffix.
    return found | {f"order of {name}": list(config[name]) for name in ("protocol", "metric") if name in config}


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that name the identity of a configuration."""
    canonical = json.dumps(identity(config), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def claim_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Create ``folder`` with its ``config.yaml``, or check that it belongs to the same configuration.

    Raises:
        InputError: the folder cannot be written, holds something else, or was made with another configuration (the
            differing keys are named).
    """
    file = folder / "config.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists() and any(folder.iterdir()):
            raise InputError(f"output_dir {folder} holds other files and no config.yaml: choose another output_dir")
        if file.exists():
            _refuse_other(folder, yaml.safe_load(file.read_text(encoding="utf-8")), config)
        write_atomically(file, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise InputError(
            f"output_dir {folder} cannot be written ({error.strerror}): choose another with output_dir=<folder>"
        ) from error


def _refuse_other(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = identity(before), identity(now)
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in differing[:4])
        more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise InputError(
            f"output_dir {folder} was made with another configuration ({shown}{more}): "
            "choose another output_dir or the same settings"
        )
