"""Configurations of small runs: a tiny network, and evaluations of the ``photographs`` of conftest.py."""

import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from relsplit.bench.configuration.settings import Settings

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


def settings_of(*typed: str) -> Settings:
    """The settings that a command line gives."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return Settings.composed(compose("config", list(typed)))


def configured(folder: Path, *more: str) -> Settings:
    return settings_of(*overrides(folder, *more))


def with_value(settings: Settings, key: str, value: Any) -> Settings:
    """The same settings with another value of ``group.key``, as no command line could say it."""
    document = settings.document()
    *groups, name = key.split(".")
    part = document
    for group in groups:
        part = part[group]
    part[name] = value
    return Settings.of(document)


def command_line(folder: Path, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), *overrides(folder, *more)]
