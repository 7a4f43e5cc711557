"""Which configuration a run belongs to, the folder that is named by it, and whether another run may go on in it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from relsplit.errors import InputError
from relsplit.files import write_text

RESULTS_VERSION = 1
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
    "reproduce",
    "split",
)
"""Keys that say how or where an evaluation is carried out. They do not change what is measured, so they may change
between two starts of the same run. (``reproduce`` lays out a table of which the run may be a row; ``split`` counts
where an explainer takes it.)"""

FILE_KEYS = ("checkpoint", "weights", "manifest")
"""Settings, in whatever group, that may name a file of the user's. They count by what the file holds, not by path."""

_DIGEST = "_sha256"


def identified(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with what identifies its run: the files' SHA-256, and the version of the results.

    ``model.checkpoint_sha256`` and so on are None where there is no such file (the name of torchvision's weights, say).
    """
    return {**_with_digests(config), "results_version": RESULTS_VERSION}


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


def _with_digests(config: Mapping[str, Any]) -> dict[str, Any]:
    marked: dict[str, Any] = {}
    for key, value in config.items():
        marked[key] = _with_digests(value) if isinstance(value, Mapping) else value
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
    }
    # Their order is that of the columns, and the first protocol's columns bear no suffix.
    return found | {f"order of {name}": list(config[name]) for name in ("protocol", "metric") if name in config}


def config_hash(config: Mapping[str, Any]) -> str:
    """Return eight hexadecimal digits that name the identity of a configuration."""
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
        write_text(file, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
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
