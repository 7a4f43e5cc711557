"""What of a configuration decides numbers, and the name that follows from it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS_VERSION = 3
"""Part of every run's identity; to be raised whenever a change of the code changes numbers (see CHANGELOG.md)."""

EXECUTION_KEYS = (
    "output_dir",
    "device",
    "data_dir",
    "trainer",
    "logger",
    "dataset.num_workers",
    "dataset.datamodule",
    "task.batch_size",
    "task.forward_batch_size",
    "task.pictures",
    "task.on_change",
    "task.explainers",
    "reproduce",
    "split",
)
"""Keys that say how or where an evaluation is carried out. They do not change what is measured, so they may change
between two starts of the same run. (``reproduce`` lays out a table of which the run may be a row; ``split`` counts
where an explainer takes it.)"""

UNSET_KEYS = ("task.curve_tolerance",)
"""Keys that are not counted where they are null: a run is then what it was before there was such a key."""

FILE_KEYS = ("checkpoint", "weights", "manifest")
"""Settings, in whatever group, that may name a file of the user's. They count by what the file holds, not by path."""

_DIGEST = "_sha256"


def identified(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with what identifies its run: the files' SHA-256, and the version of the results.

    ``model.checkpoint_sha256`` and so on are None where there is no such file (the name of torchvision's weights, say).
    """
    return {**with_digests(config), "results_version": RESULTS_VERSION}


def without_identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run folder's ``config.yaml`` as it was before :func:`identified`."""
    return {
        key: without_identity(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if not (str(key).endswith(_DIGEST) or key == "results_version")
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def with_digests(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the SHA-256 of the files that it names beside their names."""
    marked: dict[str, Any] = {}
    for key, value in config.items():
        marked[key] = with_digests(value) if isinstance(value, Mapping) else value
        if key in FILE_KEYS:
            marked[f"{key}{_DIGEST}"] = (
                sha256(Path(value)) if isinstance(value, str) and Path(value).is_file() else None
            )
    return marked


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as ``{"dotted.key": value}``; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved configuration that decides the numbers, flattened."""
    flat = flatten(config)
    found = {
        key: value
        for key, value in flat.items()
        if not any(key == name or key.startswith(f"{name}.") for name in EXECUTION_KEYS)
        and flat.get(f"{key}{_DIGEST}") is None  # a file counts by its digest
        and not (key in UNSET_KEYS and value is None)
    }
    # Their order is that of the columns, and the first protocol's columns bear no suffix.
    return found | {f"order of {name}": list(config[name]) for name in ("protocol", "metric") if name in config}


def config_hash(config: Mapping[str, Any]) -> str:
    """Return eight hexadecimal digits that name the identity of a configuration."""
    canonical = json.dumps(identity(config), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
