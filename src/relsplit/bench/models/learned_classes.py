"""Which classes a network learned, and a dataset with the labels that its classes have among them."""

from pathlib import Path
from typing import Any

import torchvision
from hydra.utils import get_object

from relsplit.bench.configuration.folders import is_to_be_trained
from relsplit.bench.configuration.settings import Model, Settings
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.labels import within
from relsplit.bench.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.errors import InputError


def learned_classes(model: Model) -> tuple[str, ...] | None:
    """Return the names of a network's classes, by label; None where neither checkpoint nor weights say them.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    if model.checkpoint is not None:
        path = Path(model.checkpoint)
        return checkpoint_class_names(path, read_checkpoint(path)) if path.is_file() else None
    entry = torchvision_weights(model)
    return None if entry is None else tuple(entry.meta["categories"])


def torchvision_weights(model: Model) -> Any | None:
    """Return what torchvision knows of ``model.weights``; None where these are not torchvision's."""
    if model.weights is None or Path(model.weights).is_file():
        return None
    try:
        return torchvision.models.get_model_weights(get_object(model.import_path))[model.weights]
    except (ValueError, KeyError):
        return None


def labelled_as_learned(settings: Settings, catalogue: Catalogue) -> Catalogue:
    """Return the dataset with the labels that its classes have in the network; the network may know more classes.

    ``dataset.class_names`` says it better, and a checkpoint that says nothing is taken at its word.

    Raises:
        InputError: the checkpoint cannot be read, or its network learned other classes.
    """
    if settings.dataset.class_names is not None or is_to_be_trained(settings):
        return catalogue
    learned = learned_classes(settings.model)
    if learned is None or learned == catalogue.class_names:
        return catalogue
    if len(learned) < catalogue.num_classes and settings.model.checkpoint is None:
        return catalogue  # loading says that the number is another
    if len(learned) > catalogue.num_classes:
        return within(catalogue, learned)
    if settings.model.checkpoint is None:  # ImageNet's 1,000 classes, in the order of their ids
        return catalogue
    if set(learned) != set(catalogue.class_names):
        unknown = [f"{name!r} is none of the dataset's" for name in learned if name not in catalogue.class_names]
        lacking = [f"{name!r} is none of them" for name in catalogue.class_names if name not in learned]
        raise InputError(
            f"{settings.model.checkpoint} was trained on other classes ({(unknown + lacking)[0]}): give "
            "model.checkpoint=FILE, train with task=train and another output_dir, or say with dataset.class_names how "
            "the classes are called in the order of the network's outputs"
        )
    return within(catalogue, learned)
