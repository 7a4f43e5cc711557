"""Task ``train``: dataset and initial network -> fine-tuning -> best checkpoint, history and test accuracy."""

from pathlib import Path

from omegaconf import DictConfig

from relsplit.bench.train.training import train
from relsplit.bench.train.training_folder import training_folder


def run(cfg: DictConfig) -> None:
    """Train ``cfg.model`` on ``cfg.dataset``; go on where an interrupted training stopped.

    Raises:
        InputError: the data, the model, the settings or the run folder cannot be used; nothing is trained then.
    """
    train(cfg)


def measure(cfg: DictConfig) -> Path:
    """Train what is not trained yet.

    Returns:
        The training's folder: best.ckpt, last.ckpt, metrics.csv, config.yaml and summary.json.

    Raises:
        InputError: as :func:`run`.
    """
    train(cfg)
    return training_folder(cfg)
