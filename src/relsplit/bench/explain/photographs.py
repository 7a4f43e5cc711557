"""Photographs of the user's own need no dataset: class names and preprocessing come with the network's weights."""

from pathlib import Path
from typing import Any

import torchvision
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from relsplit.bench.configuration.configuration import resolved
from relsplit.bench.configuration.settings import check_groups
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.machine.terminal import say
from relsplit.bench.models.build import number_of_outputs
from relsplit.bench.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.bench.models.learned_classes import torchvision_weights
from relsplit.errors import InputError

USUAL = {"resize": 256, "image_size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""How images are prepared for a network that does not say it: as for most networks trained on ImageNet."""
_OF_SAMPLES = ("root", "catalogue", "datamodule", "manifest", "sampling")


def without_dataset(cfg: DictConfig) -> DictConfig:
    """Return the configuration with a dataset that has classes and preprocessing, but no samples.

    Where a dataset was typed, it is the configuration itself, as it is for a call from Python where the weights do not
    say what they know. Settings of the preprocessing that were typed are kept.

    Raises:
        InputError: the network or its checkpoint cannot be used.
    """
    typed = _typed_settings()
    if typed is None or typed & set(_OF_SAMPLES):
        return cfg
    kept = {key: cfg.dataset[key] for key in cfg.dataset if key not in ("catalogue", "datamodule")}
    changed = cfg.copy()
    OmegaConf.set_struct(changed, False)
    changed.model = OmegaConf.create(resolved(cfg.model))  # a checkpoint's path may follow from the dataset's name
    dataset = _of_checkpoint(cfg) if cfg.model.checkpoint is not None else _of_weights(cfg)
    if "catalogue" not in dataset and not HydraConfig.initialized():
        return cfg
    said = set(dataset) >= {"catalogue", *USUAL}
    known = {key: value for key, value in {**USUAL, **dataset}.items() if key not in typed}
    changed.dataset = OmegaConf.merge(kept, known, {"name": "photographs", "root": None})
    if "catalogue" not in dataset:
        count = number_of_outputs(changed)
        target = f"{__name__}.{numbered_catalogue.__name__}"
        changed.dataset.catalogue = {"_target_": target, "count": count}
    if not said:
        shown = {key: OmegaConf.to_container(changed.dataset)[key] for key in USUAL}  # type: ignore[index, call-overload]
        classes = "" if "catalogue" in dataset else "which classes it knows or "
        say(
            f"model={cfg.model.name} does not say {classes}how images are prepared: they are resized to "
            f"{shown['resize']}, cut to {shown['image_size']} and normalised with mean {shown['mean']} and std "
            f"{shown['std']}; say dataset.resize, image_size, mean, std and class_names"
        )
    check_groups(changed)
    return changed


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
    typed = [text.lstrip("+~").partition("=")[0] for text in HydraConfig.get().overrides.task]
    if any(key == "dataset" or key.startswith("dataset@") for key in typed):
        return None
    return {key.split(".")[1] for key in typed if key.startswith("dataset.")}


def _of_weights(cfg: DictConfig) -> dict[str, Any]:
    entry = torchvision_weights(cfg)
    if entry is None:
        return {}
    prepare = entry.transforms()
    method = prepare.interpolation.value
    target = f"{__name__}.{weights_catalogue.__name__}"
    return {
        "catalogue": {"_target_": target, "model": cfg.model._target_, "weights": cfg.model.weights},
        "resize": prepare.resize_size[0],
        "image_size": prepare.crop_size[0],
        "mean": list(prepare.mean),
        "std": list(prepare.std),
        **({} if method == "bilinear" else {"transform": {"interpolation": method}}),
    }


def _of_checkpoint(cfg: DictConfig) -> dict[str, Any]:
    path = Path(cfg.model.checkpoint)
    if not path.is_file():
        return {}
    content = read_checkpoint(path)
    preprocessing = content.get("preprocessing")
    found: dict[str, Any] = {}
    if isinstance(preprocessing, dict):
        found = {key: preprocessing[key] for key in USUAL if key in preprocessing}
    if checkpoint_class_names(path, content) is not None:
        target = f"{__name__}.{checkpoint_catalogue.__name__}"
        found["catalogue"] = {"_target_": target, "checkpoint": str(path)}
    return found
