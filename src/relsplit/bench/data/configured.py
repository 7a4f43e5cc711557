"""The configured dataset, with its classes named and ordered as the user or the checkpoint says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from relsplit.bench.configuration.build import build
from relsplit.bench.configuration.configuration import resolved
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.models.learned_classes import learned_classes, within
from relsplit.bench.train.training_folder import is_to_be_trained
from relsplit.errors import InputError

_kept: dict[str, Catalogue] | None = None
"""Datasets that were read, by configuration, where they are kept."""


@contextmanager
def datasets_kept() -> Iterator[None]:
    """Read a dataset once for all evaluations within the context: the rows of a table are measured on the same one."""
    global _kept
    before, _kept = _kept, {} if _kept is None else _kept
    try:
        yield
    finally:
        _kept = before


def read_catalogue(cfg: DictConfig) -> Catalogue:
    """Read the dataset.

    ``dataset.class_names``, a list or a file with a name a line, says the order of the labels where it names the
    dataset's own classes (and perhaps more, the network's), else new names for them in their order.

    Raises:
        InputError: the dataset cannot be used, or ``dataset.class_names`` does not fit it.
    """
    catalogue = _as_it_lies(resolved(cfg.dataset.catalogue))
    names = class_names(cfg)
    if names is None:
        return catalogue
    if set(names) >= set(catalogue.class_names):
        return within(catalogue, names)
    if len(names) != catalogue.num_classes:
        raise InputError(
            f"dataset.class_names has {len(names)} names, but dataset={cfg.dataset.name} has {catalogue.num_classes} "
            "classes: name every class once"
        )
    return replace(catalogue, class_names=names)


def _as_it_lies(config: dict[str, Any]) -> Catalogue:
    key = json.dumps(config, default=str)
    if _kept is not None and key in _kept:
        return _kept[key]
    catalogue: Catalogue = build(config, "dataset.catalogue")
    if _kept is not None:
        _kept[key] = catalogue
    return catalogue


def class_names(cfg: DictConfig) -> tuple[str, ...] | None:
    """Return ``dataset.class_names``, None where it is not set.

    Raises:
        InputError: the file does not exist or is no text, or a name stands there twice.
    """
    given = cfg.dataset.class_names
    if given is None:
        return None
    if isinstance(given, str):
        try:
            names = [line.strip() for line in Path(given).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"dataset.class_names={given}: cannot be read ({error}); give a text file") from error
    else:
        names = [str(name) for name in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not names:
        raise InputError(f"dataset.class_names names {twice or 'no class'}{' twice' if twice else ''}")
    return tuple(names)


def labelled_as_learned(cfg: DictConfig, catalogue: Catalogue) -> Catalogue:
    """Return the dataset with the labels that its classes have in the network; the network may know more classes.

    ``dataset.class_names`` says it better, and a checkpoint that says nothing is taken at its word.

    Raises:
        InputError: the checkpoint cannot be read, or its network learned other classes.
    """
    if cfg.dataset.class_names is not None or is_to_be_trained(cfg):
        return catalogue
    learned = learned_classes(cfg)
    if learned is None or learned == catalogue.class_names or len(learned) < catalogue.num_classes:
        return catalogue  # where there are too few, loading says that the number is another
    if len(learned) > catalogue.num_classes:
        return within(catalogue, learned)
    if cfg.model.checkpoint is None:  # ImageNet's 1,000 classes, in the order of their ids
        return catalogue
    if set(learned) != set(catalogue.class_names):
        other = next(name for name in learned if name not in catalogue.class_names)
        raise InputError(
            f"{cfg.model.checkpoint} was trained on other classes ({other!r} is none of the dataset's): give "
            "model.checkpoint=FILE, train with task=train and another output_dir, or say with dataset.class_names how "
            "the classes are called in the order of the network's outputs"
        )
    return within(catalogue, learned)
