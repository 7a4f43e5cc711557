"""Photographs and weights that the tasks are run on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from small_runs import CLASSES, put_photographs

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
    put_photographs(tmp_path, CLASSES, to_test_on=4)
    return tmp_path
