"""Where training leaves a network, and whether it has left one."""

from pathlib import Path

from omegaconf import DictConfig

from relsplit.bench.runs.folder import CONFIG
from relsplit.bench.runs.summary import SUMMARY
from relsplit.errors import InputError

BEST, LAST, METRICS = "best.ckpt", "last.ckpt", "metrics.csv"


def training_folder(cfg: DictConfig) -> Path:
    """Return ``output_dir`` of a training task, else ``outputs/train/<dataset>/<model>/seed<seed>``."""
    if cfg.output_dir is not None and cfg.task["_target_"] == "relsplit.bench.train.task.run":
        return Path(cfg.output_dir)
    return Path("outputs", "train", cfg.dataset.name, cfg.model.name, f"seed{cfg.seed}")


def is_to_be_trained(cfg: DictConfig) -> bool:
    """Say whether the network is small (``model.train_if_missing``), and missing or not trained to the end.

    A checkpoint that lies elsewhere than training puts it is the user's.
    """
    if not cfg.model.get("train_if_missing", False) or not _is_where_training_puts_it(cfg):
        return False
    folder = training_folder(cfg)
    return not ((folder / BEST).is_file() and (folder / SUMMARY).is_file())


def check_trained(cfg: DictConfig) -> None:
    """Check that ``model.checkpoint`` is not left of a training that has not come to its end.

    Such a file is a network of any epoch, the first one say. ``summary.json`` is the last thing that a training writes.

    Raises:
        InputError: it is.
    """
    if cfg.model.checkpoint is None:
        return
    checkpoint = Path(cfg.model.checkpoint)
    folder = checkpoint.parent
    if not checkpoint.is_file() or checkpoint.name not in (BEST, LAST) or (folder / SUMMARY).is_file():
        return
    if _is_where_training_puts_it(cfg) or (folder / CONFIG).is_file() or (folder / LAST).is_file():
        raise InputError(
            f"{checkpoint} is of a training that has not come to its end ({folder} has no {SUMMARY}): start the same "
            "task=train again, which finishes it, or copy the file elsewhere to explain the network as it is"
        )


def _is_where_training_puts_it(cfg: DictConfig) -> bool:
    return (
        cfg.model.checkpoint is not None
        and Path(cfg.model.checkpoint).resolve() == (training_folder(cfg) / BEST).resolve()
    )
