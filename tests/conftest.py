"""Photographs and weights that the tasks are run on."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import HealthCheck, settings
from omegaconf import OmegaConf
from PIL import Image

from small_runs import CLASSES, ROOT

# The same suite gives the same result every time; another seed: pytest --hypothesis-profile=default
# and however loaded the machine is.
settings.register_profile("seeded", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("seeded")


os.environ.setdefault("WANDB__SERVICE_WAIT", "900")  # seconds for its process to start, 30 by default


@pytest.fixture
def seed() -> Iterator[None]:
    """Draws the same random numbers in every test, and leaves the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three classes, four test images each, and random weights of the demo network in ``weights.pt``."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 1), ("test", 4)):
        for name in CLASSES:
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OmegaConf.load(ROOT / "conf/model/demo.yaml")
        options = {key: model[key] for key in ("_target_", "block", "layers", "width_per_group")}
        network = instantiate(options, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    return tmp_path
