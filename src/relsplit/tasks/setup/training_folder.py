"""Where training leaves a network, and whether it has left one."""

from pathlib import Path

from omegaconf import DictConfig

from relsplit.runs.folder import CONFIG
from relsplit.runs.summary import SUMMARY

BEST, LAST, METRICS = "best.ckpt", "last.ckpt", "metrics.csv"


def training_folder(cfg: DictConfig) -> Path:
    """Return ``output_dir`` of a training task, else ``outputs/train/<dataset>/<model>/seed<seed>``."""
    if cfg.output_dir is not None and cfg.task["_target_"] == "relsplit.tasks.train.run":
        return Path(cfg.output_dir)
    return Path("outputs", "train", cfg.dataset.name, cfg.model.name, f"seed{cfg.seed}")


def is_to_be_trained(cfg: DictConfig) -> bool:
    """Say whether the network is small (``model.train_if_missing``), and missing or not trained to the end.

    A checkpoint that lies elsewhere than training puts it, or that no training of this package made, is the user's.
    """
    folder = training_folder(cfg)
    if cfg.model.checkpoint is None or not cfg.model.get("train_if_missing", False):
        return False
    unfinished = (folder / CONFIG).is_file() and not (folder / SUMMARY).is_file()
    missing = unfinished or not (folder / BEST).is_file()
    return missing and Path(cfg.model.checkpoint).resolve() == (folder / BEST).resolve()
