"""A CAM that no layer is named for takes the paper's where a network has it, and the last feature map elsewhere."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from relsplit.bench.explain.task import explain as run
from relsplit.bench.models.build import initial_model
from relsplit.bench.runs.maps import read_maps
from small_runs import CLASSES, command_line, configured

OTHERS = {
    "ViT": ["model=vit_demo"],
    "VGG": ["model=vgg_demo"],
    "MobileNet": ["model=custom", "model._target_=torchvision.models.mobilenet_v2", "+model.num_classes=3"],
    "Swin": [
        "model=custom", "model._target_=torchvision.models.SwinTransformer", "+model.num_classes=3",
        "+model.patch_size=[4,4]", "+model.embed_dim=8", "+model.depths=[1,1]", "+model.num_heads=[1,2]",
        "+model.window_size=[4,4]",
    ],
}  # fmt: skip
EXPLAIN = ("task=explain", "task.pictures=2", "output_dir=null")


@pytest.fixture
def here(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(photographs)
    return photographs


def model(folder: Path, name: str) -> list[str]:
    """A network with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = initial_model(configured(folder, *OTHERS[name], "model.weights=null"), len(CLASSES))
        if name == "ViT":  # torchvision's starts from 0, so that all scores are 0
            torch.nn.init.normal_(network.heads.head.weight, std=0.1)
    torch.save(network.state_dict(), folder / f"{name}.pt")
    return [*OTHERS[name], "model.weights=null", f"model.checkpoint={folder / f'{name}.pt'}"]


@pytest.mark.parametrize(
    ("explainer", "name"), [*(("grad_cam", name) for name in OTHERS), ("score_cam", "VGG"), ("layer_cam", "VGG")]
)
def test_off_resnets_it_is_the_last_feature_map(here: Path, explainer: str, name: str) -> None:
    chosen = [*EXPLAIN, *model(here, name), f"explainer={explainer}"]
    found = read_maps(run(configured(here, *chosen))).map
    assert (np.ptp(found.reshape(2, -1), axis=1) > 0).all()
    np.testing.assert_array_equal(found, read_maps(run(configured(here, *chosen, "explainer.target_layer=auto"))).map)


def test_by_command(here: Path) -> None:
    command = command_line(here, *EXPLAIN, *model(here, "VGG"), "explainer=grad_cam")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("explainer", ["grad_cam", "score_cam"])
def test_a_resnets_run_is_what_it_was(here: Path, explainer: str) -> None:
    """Its name, its map, and a folder that was written when the configuration still named the layer."""
    default, named = (
        configured(here, *EXPLAIN, f"explainer={explainer}", *more)
        for more in ([], ['explainer.target_layer="layer4[-1]"'])
    )
    assert default.identity().hash == named.identity().hash
    assert (
        default.identity().hash
        != configured(here, f"explainer={explainer}", "explainer.target_layer=auto").identity().hash
    )
    assert run(named) == run(default)
    mine = configured(here, *EXPLAIN, f"explainer={explainer}", f"output_dir={here / 'mine'}")
    np.testing.assert_array_equal(read_maps(run(mine)).map, read_maps(run(named)).map)
