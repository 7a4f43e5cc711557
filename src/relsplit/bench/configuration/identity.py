"""What of a configuration decides numbers, and the name that follows from it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from relsplit.bench.configuration.environment import FromEnvironment

RESULTS_VERSION = 7
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
    "task.maps",
    "task.on_change",
    "task.explainers",
    "reproduce",
    "split",
)
"""Keys that say how or where an evaluation is carried out. They do not change what is measured, so they may change
between two starts of the same run. (``reproduce`` lays out a table of which the run may be a row; ``split`` counts
where an explainer takes it.)"""

UNSET_KEYS = ("task.curve_tolerance", "task.target", "explainer.smoothing")
"""Keys that are not counted where they are null: a run is then what it was before there was such a key."""

COUNTED_AS = {("explainer.target_layer", "published"): "layer4[-1]"}
"""Values that count as another: on every network that could be explained before there was such a value, it is that."""

FILE_KEYS = ("checkpoint", "weights", "manifest", "maps")
"""Settings, in whatever group, that may name a file of the user's. They count by what the file holds, not by path."""

IMPORTING = {
    "hydra.utils.get_class": "path",
    "hydra.utils.get_method": "path",
    "hydra.utils.get_static_method": "path",
    "hydra.utils.get_object": "path",
    "importlib.import_module": "name",
    "pydoc.locate": "path",
}
"""What a configuration may call to get code by an import path, and the argument that is the path."""

LOGGER_KEYS = ("project", "mode", "group")
HIDDEN = "***"
_WORDS = r"api_?key|password|passwd|secret|access_?token|auth_?token|credentials?"
_SECRET = re.compile(rf"({_WORDS}|(^|_)token)$", re.IGNORECASE)
_VALUE = r"""\$\{[^}]*\}|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,}\]]+"""
_TYPED_SECRET = re.compile(rf"((?:{_WORDS}|\btoken|_token)['\"]?\s*[=:]\s*)(?:{_VALUE})", re.IGNORECASE)
_DIGEST = "_sha256"


@dataclass(frozen=True)
class Identity:
    """What a run is of.

    Attributes:
        document: the configuration as plain containers, with digests of what the files that it names hold, and of what
            the environment gave, which does not stand there itself; it belongs to this value alone.
    """

    document: Mapping[str, Any]

    @cached_property
    def deciding(self) -> dict[str, Any]:
        """What decides the numbers, by dotted key."""
        flat = flatten(without_secrets(self.document))
        found = {
            key: COUNTED_AS.get((key, value), value) if isinstance(value, str) else value
            for key, value in flat.items()
            if not any(setting_of(key) == name or key.startswith(f"{name}.") for name in EXECUTION_KEYS)
            and flat.get(f"{key}{_DIGEST}") is None  # a file, or what the environment gave, counts by its digest
            and not (key in UNSET_KEYS and value is None)
        }
        # Their order is that of the columns, and the first protocol's columns bear no suffix.
        orders = [name for name in ("protocol", "metric") if name in self.document]
        return found | {f"order of {name}": list(self.document[name]) for name in orders}

    @cached_property
    def hash(self) -> str:
        """Eight hexadecimal digits that name it."""
        canonical = json.dumps(self.deciding, sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def written(self) -> dict[str, Any]:
        """Return the document as it may be written down."""
        return without_secrets(self.document)


def identified(document: Mapping[str, Any]) -> Identity:
    """Return the identity of a configuration: with its files' SHA-256, and the version of the results.

    Args:
        document: as :func:`relsplit.bench.configuration.composition.resolved` returns it.

    ``model.checkpoint_sha256`` and so on are None where there is no such file (the name of torchvision's weights, say).
    """
    return Identity({**with_digests(document), "results_version": RESULTS_VERSION})


def without_identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run folder's ``config.yaml`` as it was before :func:`identified`."""
    return {
        key: without_identity(value) if isinstance(value, Mapping) else value
        for key, value in document.items()
        if not (str(key).endswith(_DIGEST) or key == "results_version")
    }


def setting_of(key: str) -> str:
    """Return the setting that a key of :attr:`Identity.deciding` is about: the digest of a value is about the value."""
    return key.removesuffix(_DIGEST)


def without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as it may be written down: passwords, keys and tokens hidden.

    Of ``logger``, whose further keys are arguments of ``wandb.init``, only those are left that say where results went.
    """
    shown: dict[str, Any] = {}
    for key, value in document.items():
        if key == "logger" and isinstance(value, Mapping):
            shown[key] = {name: each for name, each in value.items() if name in LOGGER_KEYS}
        elif value is not None and _SECRET.search(str(key)):
            shown[key] = HIDDEN
        else:
            shown[key] = _without_secrets(value)
    return shown


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value


def command_without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return what was typed as it may be written down, see :func:`without_secrets`."""
    return [_without_typed_secrets(argument) for argument in arguments]


def _without_typed_secrets(argument: str) -> str:
    key, separator, _ = argument.partition("=")
    if separator and _SECRET.search(key.rpartition(".")[2]):  # all that follows, which may hold any sign
        return f"{key}={HIDDEN}"
    return _TYPED_SECRET.sub(rf"\1{HIDDEN}", argument)


def named_code(content: Any) -> Iterator[str]:
    """Yield every import path in a configuration: of each ``_target_``, and of what that gets by path itself.

    Args:
        content: plain containers.
    """
    if isinstance(content, Mapping):
        if isinstance(target := content.get("_target_"), str):
            yield target
            if target in IMPORTING:
                paths = [content.get(IMPORTING[target]), *(content.get("_args_") or ())]
                yield from (path for path in paths if isinstance(path, str))
        for value in content.values():
            yield from named_code(value)
    elif isinstance(content, list):
        for value in content:
            yield from named_code(value)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def with_digests(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the SHA-256 of the files that it names beside their names.

    What the environment gave stands there as it was typed, beside the SHA-256 of its value.
    """
    marked: dict[str, Any] = {}
    for key, given in document.items():
        value = given.value if isinstance(given, FromEnvironment) else given
        if isinstance(given, FromEnvironment):
            marked[key] = given.written
        else:
            marked[key] = with_digests(given) if isinstance(given, Mapping) else given
        digest = None
        if key in FILE_KEYS and isinstance(value, str) and Path(value).is_file():
            digest = sha256(Path(value))
        elif isinstance(given, FromEnvironment) and not _SECRET.search(str(key)):  # a secret decides no number
            digest = hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
        if digest is not None or (key in FILE_KEYS and not isinstance(value, int)):  # task.maps is a number
            marked[f"{key}{_DIGEST}"] = digest
    return marked


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as ``{"dotted.key": value}``; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat
