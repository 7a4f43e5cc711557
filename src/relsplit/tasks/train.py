"""Task ``train``: dataset and initial network -> fine-tuning -> best checkpoint, history and test accuracy."""

from omegaconf import DictConfig

from relsplit.tasks.setup.training import train


def run(cfg: DictConfig) -> None:
    """Train ``cfg.model`` on ``cfg.dataset``; go on where an interrupted training stopped.

    Raises:
        InputError: the data, the model, the settings or the run folder cannot be used; nothing is trained then.
    """
    train(cfg)
