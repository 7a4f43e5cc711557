"""The network that a task explains: with its weights, which are trained first where that is small work."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from relsplit.data.catalogue import Catalogue
from relsplit.errors import InputError
from relsplit.models.build import initial_model, load_model
from relsplit.runs.folder import CONFIG
from relsplit.runs.summary import SUMMARY, read_summary
from relsplit.tasks.setup.configuration import resolved
from relsplit.tasks.setup.explanation import ConfiguredExplainer
from relsplit.tasks.setup.training import BEST, train, training_folder


def explained_network(cfg: DictConfig, catalogue: Catalogue) -> nn.Module:
    """Load ``cfg.model``; train it first if it is small (``model.train_if_missing``) and missing or unfinished.

    A checkpoint that lies elsewhere than training puts it, or that no training of this package made, is the user's and
    is left alone.

    Raises:
        InputError: the model cannot be used, it was trained on other classes, or the explainer's options are wrong.
    """
    folder = training_folder(cfg)
    if cfg.model.checkpoint is not None and Path(cfg.model.checkpoint).resolve() == (folder / BEST).resolve():
        unfinished = (folder / CONFIG).is_file() and not (folder / SUMMARY).is_file()
        if cfg.model.get("train_if_missing", False) and (unfinished or not (folder / BEST).is_file()):
            # Training takes minutes: wrong options of the explainer shall show before it.
            ConfiguredExplainer(resolved(cfg), initial_model(cfg, catalogue.num_classes).eval())
            train(cfg)
        if (folder / SUMMARY).is_file():
            _check_classes(folder, read_summary(folder), catalogue)
    return load_model(cfg, catalogue.num_classes)


def _check_classes(folder: Path, summary: dict[str, Any], catalogue: Catalogue) -> None:
    """The default checkpoint is named by dataset= and model=; another dataset.root may hold other classes."""
    if "class_names" not in summary:
        raise InputError(f"{folder} does not say which classes were learned: delete the folder and train again")
    learned, asked = summary["class_names"], list(catalogue.class_names)
    if learned != asked:
        first, other = next((a, b) for a, b in zip([*learned, None], [*asked, None], strict=False) if a != b)
        raise InputError(
            f"{folder / BEST} was trained on other classes ({first!r} where the dataset has {other!r}): give "
            "model.checkpoint=FILE, or train with task=train and another output_dir"
        )
