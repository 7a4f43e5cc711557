"""The configured dataset, with its classes named and ordered as the user or the checkpoint says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from relsplit.data.catalogue import Catalogue
from relsplit.errors import InputError
from relsplit.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.tasks.setup.build import build
from relsplit.tasks.setup.configuration import resolved
from relsplit.tasks.setup.training_folder import is_to_be_trained

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
    dataset's own classes, else new names for them in their order.

    Raises:
        InputError: the dataset cannot be used, or ``dataset.class_names`` does not fit it.
    """
    catalogue = _as_it_lies(resolved(cfg.dataset.catalogue))
    names = class_names(cfg)
    if names is None:
        return catalogue
    if set(names) == set(catalogue.class_names):
        return ordered(catalogue, names)
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


def ordered(catalogue: Catalogue, names: tuple[str, ...]) -> Catalogue:
    """Return the catalogue with its labels in the order of ``names``, which are its class names."""
    if names == catalogue.class_names:
        return catalogue
    label_of = {name: label for label, name in enumerate(names)}
    new = [label_of[name] for name in catalogue.class_names]
    samples = tuple(
        replace(sample, label=new[sample.label], labels=tuple(sorted(new[label] for label in sample.labels)))
        for sample in catalogue.samples
    )
    return replace(catalogue, class_names=names, samples=samples)


def labelled_as_learned(cfg: DictConfig, catalogue: Catalogue) -> Catalogue:
    """Return the dataset with its labels in the order in which the checkpoint's network learned the classes.

    ``dataset.class_names`` says it better, and a checkpoint that says nothing is taken at its word.

    Raises:
        InputError: the checkpoint cannot be read, or its network learned other classes.
    """
    if cfg.dataset.class_names is not None or cfg.model.checkpoint is None or is_to_be_trained(cfg):
        return catalogue
    path = Path(cfg.model.checkpoint)
    learned = checkpoint_class_names(path, read_checkpoint(path)) if path.is_file() else None
    if learned is None or len(learned) != catalogue.num_classes:  # loading says that the number is another
        return catalogue
    if set(learned) != set(catalogue.class_names):
        other = next(name for name in learned if name not in catalogue.class_names)
        raise InputError(
            f"{path} was trained on other classes ({other!r} is none of the dataset's): give model.checkpoint=FILE, "
            "train with task=train and another output_dir, or say with dataset.class_names how the classes are called "
            "in the order of the network's outputs"
        )
    return ordered(catalogue, learned)
