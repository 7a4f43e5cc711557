"""The configured dataset, with its classes named and ordered as the user or the checkpoint says."""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from relsplit.data.catalogue import Catalogue
from relsplit.errors import InputError
from relsplit.tasks.setup.build import build
from relsplit.tasks.setup.configuration import resolved


def read_catalogue(cfg: DictConfig) -> Catalogue:
    """Read the dataset.

    ``dataset.class_names``, a list or a file with a name a line, says the order of the labels where it names the
    dataset's own classes, else new names for them in their order.

    Raises:
        InputError: the dataset cannot be used, or ``dataset.class_names`` does not fit it.
    """
    catalogue: Catalogue = build(resolved(cfg.dataset.catalogue), "dataset.catalogue")
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
