"""The folders that a configuration gives to a run and to a training, and what the latter has left there."""

from pathlib import Path

from relsplit.bench.configuration.identity import Identity
from relsplit.bench.configuration.settings import Settings, Train

BEST, SUMMARY = "best.ckpt", "summary.json"
"""What a training leaves in the end."""


def run_folder(task: str, settings: Settings, identity: Identity) -> Path:
    """Return ``output_dir``, or the folder that the choices and the hash of the configuration name.

    Equal configurations share a folder, so whatever needs the same evaluation twice finds it done.

    Args:
        task: what is done, in a word ("evaluate").
        settings: of the run.
        identity: of the settings.
    """
    if settings.output_dir is not None:
        return Path(settings.output_dir)
    name = f"{settings.explainer_title}-{identity.hash}"
    return Path("outputs", task, settings.dataset.name, settings.model.name, name)


def training_folder(settings: Settings) -> Path:
    """Return ``output_dir`` of a training task, else ``outputs/train/<dataset>/<model>/seed<seed>``."""
    if settings.output_dir is not None and isinstance(settings.task, Train):
        return Path(settings.output_dir)
    return Path("outputs", "train", settings.dataset.name, settings.model.name, f"seed{settings.seed}")


def is_to_be_trained(settings: Settings) -> bool:
    """Say whether the network is small (``model.train_if_missing``), and missing or not trained to the end.

    A checkpoint that lies elsewhere than training puts it is the user's.
    """
    if not settings.model.train_if_missing or not is_where_training_puts_it(settings):
        return False
    folder = training_folder(settings)
    return not ((folder / BEST).is_file() and (folder / SUMMARY).is_file())


def is_where_training_puts_it(settings: Settings) -> bool:
    """Say whether ``model.checkpoint`` is the file that a training of this network writes."""
    checkpoint = settings.model.checkpoint
    return checkpoint is not None and Path(checkpoint).resolve() == (training_folder(settings) / BEST).resolve()
