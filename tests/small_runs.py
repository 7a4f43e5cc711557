"""Configurations of small runs: a tiny network, and evaluations of the ``photographs`` of conftest.py."""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = Path(__file__).parents[1]
CLASSES = ("finch", "jay", "wren")
TINY_NETWORK = [  # one block a stage, two classes
    "model=custom",
    "model._target_=torchvision.models.ResNet",
    "+model.block._target_=hydra.utils.get_class",
    "+model.block.path=torchvision.models.resnet.BasicBlock",
    "+model.layers=[1,1,1,1]",
    "+model.num_classes=2",
]


def overrides(folder: Path, *more: str) -> list[str]:
    return [
        "dataset=image_folder",
        "model=demo",
        f"dataset.root={folder / 'photographs'}",
        "dataset.image_size=32",
        "dataset.resize=32",
        "dataset.num_workers=0",
        "num_samples=9",
        f"model.checkpoint={folder / 'weights.pt'}",
        "task.batch_size=2",
        "task.pictures=2",
        "logger=none",
        f"output_dir={folder / 'run'}",
        *more,
    ]


def configured(folder: Path, *more: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides(folder, *more))


def command_line(folder: Path, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), *overrides(folder, *more)]
