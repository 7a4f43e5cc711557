"""Configurations of small runs: a tiny network, and evaluations of the ``photographs`` of conftest.py."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

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


def put_photographs(folder: Path, classes: Sequence[str], to_test_on: int) -> None:
    """Put photographs of three classes into a folder, and random weights of the demo network in ``weights.pt``.

    Args:
        folder: an existing one.
        classes: their names.
        to_test_on: images of each; one is there to train on.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", 1), ("test", to_test_on)):
        for name in classes:
            there = folder / "photographs" / split / name
            there.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
                Image.fromarray(pixels).save(there / f"{index}.png")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OmegaConf.load(ROOT / "conf/model/demo.yaml")
        options = {key: model[key] for key in ("_target_", "block", "layers", "width_per_group")}
        network = instantiate(options, num_classes=len(classes))
    torch.save(network.state_dict(), folder / "weights.pt")


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
