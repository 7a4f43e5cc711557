"""Task ``train``: dataset and initial network -> fine-tuning -> best checkpoint, history and test accuracy."""

from pathlib import Path

from relsplit.bench.configuration.folders import training_folder
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.train import training


def run(settings: Settings) -> None:
    """Train ``model`` on ``dataset``; go on where an interrupted training stopped.

    Raises:
        InputError: the data, the model, the settings or the run folder cannot be used; nothing is trained then.
    """
    train(settings)


def train(settings: Settings) -> Path:
    """Train what is not trained yet.

    Returns:
        The training's folder: best.ckpt, last.ckpt, metrics.csv, config.yaml and summary.json.

    Raises:
        InputError: as :func:`run`.
    """
    training.train(settings)
    return training_folder(settings)
