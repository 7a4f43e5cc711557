"""The configured dataset, with its classes named and ordered as the user says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from relsplit.bench.configuration.parts import Named
from relsplit.bench.configuration.settings import Dataset
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.labels import within
from relsplit.errors import InputError

_catalogues: dict[str, Catalogue] | None = None
"""Datasets that were read, by what they were read from, where each is read once."""


@contextmanager
def datasets_read_once() -> Iterator[None]:
    """Read a dataset once for all evaluations within the context: the rows of a table are measured on the same one."""
    global _catalogues
    before, _catalogues = _catalogues, {} if _catalogues is None else _catalogues
    try:
        yield
    finally:
        _catalogues = before


def read_catalogue(dataset: Dataset) -> Catalogue:
    """Read the dataset.

    ``dataset.class_names``, a list or a file with a name a line, says the order of the labels where it names the
    dataset's own classes (and perhaps more, the network's), else new names for them in their order.

    Raises:
        InputError: the dataset cannot be used, or ``dataset.class_names`` does not fit it.
    """
    catalogue = _as_it_lies(dataset.catalogue)
    names = class_names(dataset)
    if names is None:
        return catalogue
    if set(names) >= set(catalogue.class_names):
        return within(catalogue, names)
    if len(names) != catalogue.num_classes:
        raise InputError(
            f"dataset.class_names has {len(names)} names, but dataset={dataset.name} has {catalogue.num_classes} "
            "classes: name every class once"
        )
    return replace(catalogue, class_names=names)


def _as_it_lies(named: Named) -> Catalogue:
    key = json.dumps([named.import_path, *named.arguments.items()], default=str)
    if _catalogues is not None and key in _catalogues:
        return _catalogues[key]
    catalogue: Catalogue = named.build("dataset.catalogue")
    if _catalogues is not None:
        _catalogues[key] = catalogue
    return catalogue


def class_names(dataset: Dataset) -> tuple[str, ...] | None:
    """Return ``dataset.class_names``, None where it is not set.

    Raises:
        InputError: the file does not exist or is no text, or a name stands there twice.
    """
    given = dataset.class_names
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
