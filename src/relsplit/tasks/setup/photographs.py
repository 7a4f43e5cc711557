"""Photographs of the user's own need no dataset: class names and preprocessing come with the network's weights."""

from pathlib import Path
from typing import Any

import torchvision
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torchvision.models import WeightsEnum

from relsplit.data.catalogue import Catalogue
from relsplit.errors import InputError
from relsplit.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.tasks.setup.configuration import is_typed


def without_dataset(cfg: DictConfig) -> DictConfig:
    """Return the configuration with a dataset that has classes and preprocessing, but no samples.

    Where ``dataset=`` or a setting of it was typed, or the weights do not say what they know, it is the configuration
    itself.
    """
    if is_typed("dataset"):
        return cfg
    dataset = _of_checkpoint(cfg) if cfg.model.checkpoint is not None else _of_weights(cfg)
    if dataset is None:
        return cfg
    kept = {key: cfg.dataset[key] for key in cfg.dataset if key not in ("catalogue", "datamodule")}
    changed = cfg.copy()
    OmegaConf.set_struct(changed, False)
    changed.dataset = OmegaConf.merge(kept, dataset, {"name": "photographs", "root": None})
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


def _of_weights(cfg: DictConfig) -> dict[str, Any] | None:
    if cfg.model.weights is None or Path(cfg.model.weights).is_file():
        return None
    try:
        entry: WeightsEnum = torchvision.models.get_model_weights(get_object(cfg.model._target_))[cfg.model.weights]
    except (ValueError, KeyError):
        return None
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


def _of_checkpoint(cfg: DictConfig) -> dict[str, Any] | None:
    path = Path(cfg.model.checkpoint)
    if not path.is_file():
        return None
    content = read_checkpoint(path)
    preprocessing = content.get("preprocessing")
    if checkpoint_class_names(path, content) is None or not isinstance(preprocessing, dict):
        return None
    target = f"{__name__}.{checkpoint_catalogue.__name__}"
    return {"catalogue": {"_target_": target, "checkpoint": str(path)}, **preprocessing}
