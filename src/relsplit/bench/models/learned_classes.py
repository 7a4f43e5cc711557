"""Which classes a network learned, and the label that a class of a dataset has among them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torchvision
from hydra.utils import get_object
from omegaconf import DictConfig

from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.imagenet_classes import IMAGENET_CLASS_NAMES, IMAGENET_WNIDS
from relsplit.bench.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.errors import InputError
from relsplit.spelling import did_you_mean


def learned_classes(cfg: DictConfig) -> tuple[str, ...] | None:
    """Return the names of the classes of ``cfg.model``, by label; None where neither checkpoint nor weights say them.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    if cfg.model.checkpoint is not None:
        path = Path(cfg.model.checkpoint)
        return checkpoint_class_names(path, read_checkpoint(path)) if path.is_file() else None
    entry = torchvision_weights(cfg)
    return None if entry is None else tuple(entry.meta["categories"])


def torchvision_weights(cfg: DictConfig) -> Any | None:
    """Return what torchvision knows of ``model.weights``; None where these are not torchvision's."""
    if cfg.model.weights is None or Path(cfg.model.weights).is_file():
        return None
    try:
        return torchvision.models.get_model_weights(get_object(cfg.model._target_))[cfg.model.weights]
    except (ValueError, KeyError):
        return None


def label_of(name: str | int, class_names: Sequence[str], where: str) -> int:
    """Return the label of a class.

    Args:
        name: its name, in upper or lower case and with ``_`` or blanks, its label, or its WordNet id (n01440764) where
            the classes are ImageNet's.
        class_names: by label.
        where: what names the class, for the error.

    Raises:
        InputError: there is no such class, or several of this name.
    """
    name, plain = str(name), [_plain(each) for each in class_names]
    found = [label for label, each in enumerate(class_names) if each == name]
    found = found or [label for label, each in enumerate(plain) if each == _plain(name)]
    if len(found) > 1:
        raise InputError(f"{where}={name}: classes {', '.join(map(str, found))} are called so: say the number")
    if not found and name in IMAGENET_WNIDS and tuple(class_names) == IMAGENET_CLASS_NAMES:
        return IMAGENET_WNIDS.index(name)
    if not found and name.isdecimal() and int(name) < len(class_names):
        return int(name)
    if not found:
        hint = did_you_mean(name, class_names)
        raise InputError(f"{where}={name}: none of the network's {len(class_names)} classes is called so{hint}")
    return found[0]


def within(catalogue: Catalogue, class_names: Sequence[str]) -> Catalogue:
    """Return a dataset of some of a network's classes with the network's labels.

    Args:
        catalogue: whose classes are called as the network's.
        class_names: the network's, by label.

    Raises:
        InputError: a class of the dataset is none of the network's, or several of them are called so.
    """
    new = [label_of(name, class_names, "the class of the dataset") for name in catalogue.class_names]
    samples = tuple(
        replace(sample, label=new[sample.label], labels=tuple(sorted(new[label] for label in sample.labels)))
        for sample in catalogue.samples
    )
    return replace(catalogue, class_names=tuple(class_names), samples=samples)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
