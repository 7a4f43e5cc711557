"""Photographs of the user's own need no dataset: class names and preprocessing come with the network's weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object

from relsplit.bench.configuration.settings import Model, Settings
from relsplit.bench.configuration.typed import typed_texts
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.machine.terminal import say
from relsplit.bench.models.build import number_of_outputs
from relsplit.bench.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.bench.models.learned_classes import torchvision_weights
from relsplit.errors import InputError

USUAL = {"resize": 256, "image_size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""How images are prepared for a network that does not say it: as for most networks trained on ImageNet."""
_OF_SAMPLES = ("root", "catalogue", "datamodule", "manifest", "sampling")


def without_dataset(settings: Settings) -> Settings:
    """Return the settings with a dataset that has classes and preprocessing, but no samples.

    Where a dataset was typed, they are the settings themselves, as they are for a call from Python where the weights
    do not say what they know. What was typed of the preprocessing stays.

    Raises:
        InputError: the network or its checkpoint cannot be used.
    """
    typed = _typed_settings()
    if typed is None or typed & set(_OF_SAMPLES):
        return settings
    model = settings.model
    given = settings.document()["model"]  # what the environment gave remains so
    dataset = (
        _of_weights(model, given["weights"])
        if model.checkpoint is None
        else _of_checkpoint(Path(model.checkpoint), given["checkpoint"])
    )
    if "catalogue" not in dataset and not HydraConfig.initialized():
        return settings
    known = {key: value for key, value in {**USUAL, **dataset}.items() if key not in typed}
    changed = _with_dataset(settings, known)
    if "catalogue" not in dataset:
        count = number_of_outputs(changed)
        target = f"{__name__}.{numbered_catalogue.__name__}"
        changed = _with_dataset(changed, {"catalogue": {"_target_": target, "count": count}})
        if changed.dataset.class_names is None:
            say(f"model={model.name} does not say which classes it knows: they are numbered; say dataset.class_names")
    return changed


def _with_dataset(settings: Settings, known: Mapping[str, Any]) -> Settings:
    """The settings with other values of ``dataset``; what its transform shares with it follows."""
    document = settings.document()
    before = document["dataset"]
    after = {key: value for key, value in before.items() if key not in ("catalogue", "datamodule")}
    after |= {"catalogue": before["catalogue"], **known, "name": "photographs", "root": None}
    shared = {key: after[key] for key in USUAL if before["transform"].get(key) == before[key]}
    after["transform"] = {**before["transform"], **known.get("transform", {}), **shared}
    return Settings.of({**document, "dataset": after})


def weights_catalogue(model: str, weights: str) -> Catalogue:
    """Return the classes that torchvision's weights know, without samples.

    Args:
        model: import path of the constructor.
        weights: name of the weights.
    """
    entry = torchvision.models.get_model_weights(get_object(model))[weights]
    return Catalogue(tuple(entry.meta["categories"]), (), Path())


def checkpoint_catalogue(checkpoint: str) -> Catalogue:
    """Return the classes that a checkpoint's network learned, without samples.

    Raises:
        InputError: the file cannot be read, or does not say.
    """
    names = checkpoint_class_names(Path(checkpoint), read_checkpoint(Path(checkpoint)))
    if names is None:
        raise InputError(f"{checkpoint} does not say which classes were learned: give dataset=")
    return Catalogue(names, (), Path())


def numbered_catalogue(count: int) -> Catalogue:
    """Return so many classes that nobody has named, without samples."""
    return Catalogue(tuple(f"class {label}" for label in range(count)), (), Path())


def _typed_settings() -> set[str] | None:
    """Return the settings of ``dataset`` that were typed; None where a dataset was."""
    if not HydraConfig.initialized():
        return set()
    typed = [text.lstrip("+~").partition("=")[0] for text in typed_texts()]
    if any(key == "dataset" or key.startswith("dataset@") for key in typed):
        return None
    return {key.split(".")[1] for key in typed if key.startswith("dataset.")}


def _of_weights(model: Model, given: Any) -> dict[str, Any]:
    entry = torchvision_weights(model)
    if entry is None:
        return {}
    prepare = entry.transforms()
    method = prepare.interpolation.value
    target = f"{__name__}.{weights_catalogue.__name__}"
    return {
        "catalogue": {"_target_": target, "model": model.import_path, "weights": given},
        "resize": prepare.resize_size[0],
        "image_size": prepare.crop_size[0],
        "mean": list(prepare.mean),
        "std": list(prepare.std),
        **({} if method == "bilinear" else {"transform": {"interpolation": method}}),
    }


def _of_checkpoint(path: Path, given: Any) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_checkpoint(path)
    preprocessing = content.get("preprocessing")
    found: dict[str, Any] = {}
    if isinstance(preprocessing, dict):
        found = {key: preprocessing[key] for key in USUAL if key in preprocessing}
    if checkpoint_class_names(path, content) is not None:
        target = f"{__name__}.{checkpoint_catalogue.__name__}"
        found["catalogue"] = {"_target_": target, "checkpoint": given}
    return found
