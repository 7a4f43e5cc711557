"""Photographs without a dataset: class names and preprocessing come with torchvision's weights or with a checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from hostile_inputs import write_image
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import read_maps
from small_runs import ROOT


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for torch with random weights under the name that the download has."""
    cache = tmp_path / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(resnet18().state_dict(), cache / Path(ResNet18_Weights.IMAGENET1K_V1.url).name)
    write_image(tmp_path / "bird.png")
    return tmp_path


def explained(home: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "run.py"), "task=explain", "task.images=[bird.png]", "explainer=center"]
    environment = {**os.environ, "TORCH_HOME": str(home / "torch"), "COLUMNS": "500"}
    return subprocess.run(
        [*command, "output_dir=maps", "device=cpu", *more],
        cwd=home, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_classes_and_preprocessing_come_with_the_weights(home: Path) -> None:
    done = explained(home, "model=resnet18_imagenet")
    assert done.returncode == 0, done.stderr
    maps = read_maps(home / "maps")
    assert (
        maps.class_name[0]
        == f"predicted, explained: {ResNet18_Weights.IMAGENET1K_V1.meta['categories'][maps.predicted[0]]}"
    )
    dataset = read_config(home / "maps")["dataset"]
    assert (dataset["name"], dataset["resize"], dataset["image_size"]) == ("photographs", 256, 224)
    assert maps.map.shape == (1, 224, 224)
    assert {path.name for path in home.iterdir()} == {"bird.png", "maps", "torch"}  # no demo data were drawn for it


def test_a_network_of_ones_own_needs_no_dataset(home: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(resnet18(num_classes=7).state_dict(), home / "own.pt")
    own = ["model=custom", "model._target_=torchvision.models.resnet18", "+model.num_classes=7"]
    done = explained(home, *own, "model.checkpoint=own.pt", "task.target=5", "dataset.image_size=64")
    assert done.returncode == 0, done.stderr
    assert "does not say which classes it knows: they are numbered" in done.stdout
    assert "own.pt does not say how images are prepared: they are resized to 256, cut to 64 and normal" in done.stdout
    assert "1 maps of model=custom (own.pt)" in done.stdout
    maps = read_maps(home / "maps")
    assert maps.image.shape == (1, 64, 64, 3)
    assert maps.label.tolist() == [5]
    assert str(maps.class_name[0]) == f"predicted: class {maps.predicted[0]}\nexplained: class 5"
    wrong = explained(home, *own, "model.checkpoint=own.pt", "task.target=7")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_a_class_is_explained_by_its_name(home: Path) -> None:
    done = explained(home, "model=resnet18_imagenet", "task.target=american_lobster", "explainer=grad_cam")
    assert done.returncode == 0, done.stderr
    maps = read_maps(home / "maps")
    assert maps.label.tolist() == [ResNet18_Weights.IMAGENET1K_V1.meta["categories"].index("American lobster")]
    wrong = explained(home, "model=resnet18_imagenet", "task.target=american_lobsters")
    assert wrong.returncode == 2
    assert "did you mean American lobster" in wrong.stderr


def test_a_demo_network_that_is_missing_is_trained_and_named(home: Path) -> None:
    """``python run.py task=explain task.images=[bird.png]`` in a fresh clone; here it learns for one epoch."""
    short = ("trainer.max_epochs=1", "logger=none")
    done = explained(home, *short)
    assert done.returncode == 0, done.stderr
    assert "1 maps of model=demo (outputs/train/demo/demo/seed42/best.ckpt)" in done.stdout
    assert read_config(home / "maps")["dataset"]["image_size"] == 64
    again = explained(home, *short)
    assert again.returncode == 0, again.stderr
    assert "trained:" not in again.stdout


def test_another_weights_file_is_named_by_where_it_belongs(home: Path) -> None:
    (home / "torch/hub/checkpoints" / Path(ResNet18_Weights.IMAGENET1K_V1.url).name).write_bytes(b"cut")
    done = explained(home, "model=resnet18_imagenet")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "checkpoints" in done.stderr
    assert not (home / "maps").exists()


def test_a_checkpoint_of_a_training_says_its_classes(home: Path) -> None:
    from hostile_inputs import demo_network

    content = {
        "state_dict": demo_network(3).state_dict(),
        "class_names": ["finch", "jay", "wren"],
        "preprocessing": {"resize": 40, "image_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    torch.save(content, home / "birds.ckpt")
    done = explained(home, "model=demo", "model.checkpoint=birds.ckpt")
    assert done.returncode == 0, done.stderr
    maps = read_maps(home / "maps")
    assert str(maps.class_name[0]).removeprefix("predicted, explained: ") in ("finch", "jay", "wren")
    assert maps.image.shape == (1, 32, 32, 3)
    assert np.isfinite(maps.map).all()
    assert "the demo network knows drawn birds only; model=resnet50_imagenet knows photographs" in done.stdout
