"""The network that a task explains: with its weights, which are trained first where that is small work."""

from pathlib import Path

from omegaconf import DictConfig
from torch import nn

from relsplit.data.catalogue import Catalogue
from relsplit.errors import InputError
from relsplit.models.build import initial_model, load_model
from relsplit.models.checkpoint import checkpoint_class_names, read_checkpoint
from relsplit.models.named_weights import check_preprocessing
from relsplit.runs.folder import CONFIG
from relsplit.runs.summary import SUMMARY
from relsplit.tasks.setup.catalogue import ordered
from relsplit.tasks.setup.configuration import resolved
from relsplit.tasks.setup.explanation import ConfiguredExplainer
from relsplit.tasks.setup.terminal import say
from relsplit.tasks.setup.training import BEST, train, training_folder


def explained_network(cfg: DictConfig, catalogue: Catalogue) -> nn.Module:
    """Load ``cfg.model``; train it first if it is small (``model.train_if_missing``) and missing or unfinished.

    A checkpoint that lies elsewhere than training puts it, or that no training of this package made, is the user's and
    is left alone.

    Raises:
        InputError: the model cannot be used, its weights expect other images, or the explainer's options are wrong.
    """
    if is_to_be_trained(cfg):
        # Training takes minutes: wrong options of the explainer shall show before it.
        ConfiguredExplainer(resolved(cfg), initial_model(cfg, catalogue.num_classes).eval())
        train(cfg)
    if cfg.model.checkpoint is None:
        warning = check_preprocessing(resolved(cfg.model), resolved(cfg.dataset))
        if warning is not None:
            say(warning)
    return load_model(cfg, catalogue.num_classes)


def is_to_be_trained(cfg: DictConfig) -> bool:
    """Say whether the network is one that :func:`explained_network` trains."""
    folder = training_folder(cfg)
    if cfg.model.checkpoint is None or not cfg.model.get("train_if_missing", False):
        return False
    unfinished = (folder / CONFIG).is_file() and not (folder / SUMMARY).is_file()
    missing = unfinished or not (folder / BEST).is_file()
    return missing and Path(cfg.model.checkpoint).resolve() == (folder / BEST).resolve()


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
