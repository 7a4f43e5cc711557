"""What names a run's folder, and whose code decides its numbers."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from relsplit.bench.configuration import identity
from relsplit.bench.configuration.identity import Identity, without_identity
from small_runs import command_line, configured, with_value


def test_weights_and_manifests_count_by_what_they_hold(photographs: Path) -> None:
    weights, manifest = photographs / "start.pt", photographs / "chosen.csv"

    def name() -> str:
        options = [f"model.weights={weights}", f"dataset.manifest={manifest}"]
        return configured(photographs, *options).identity().hash

    torch.save({"weight": torch.zeros(1)}, weights)
    manifest.write_text("a")
    names = [name(), name()]
    torch.save({"weight": torch.ones(1)}, weights)
    names.append(name())
    manifest.write_text("b")
    names.append(name())
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_digests_are_taken_back(photographs: Path) -> None:
    settings = configured(photographs)
    marked = settings.identity().document
    assert len(marked["model"]["checkpoint_sha256"]) == 64
    assert marked["model"]["weights_sha256"] is None
    assert without_identity(marked) == settings.document()


def test_weights_of_an_explainer_count_by_what_they_hold(photographs: Path) -> None:
    weights = photographs / "explainer.pt"
    names = []
    for content in (b"a", b"a", b"b"):
        weights.write_bytes(content)
        names.append(configured(photographs, f"+explainer.weights={weights}").identity().hash)
    moved = weights.rename(photographs / "moved.pt")
    names.append(configured(photographs, f"+explainer.weights={moved}").identity().hash)
    assert names[0] == names[1] != names[2]
    assert names[2] == names[3]


def test_a_setting_that_is_off_leaves_a_run_its_name(photographs: Path) -> None:
    off = configured(photographs).identity()
    task = {key: value for key, value in off.document["task"].items() if key != "curve_tolerance"}
    on = configured(photographs, "task.curve_tolerance=0.02").identity()
    assert task != off.document["task"]
    assert Identity({**off.document, "task": task}).hash == off.hash != on.hash


def test_numbers_belong_to_a_version(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configured(photographs)
    before = settings.identity().hash
    monkeypatch.setattr(identity, "RESULTS_VERSION", identity.RESULTS_VERSION + 1)
    assert settings.identity().hash != before


@pytest.mark.parametrize(
    "block",
    [
        {"_target_": "own_blocks.Narrow", "_partial_": True},
        {"_target_": "hydra.utils.get_class", "path": "own_blocks.Narrow"},
        {"_target_": "hydra.utils.get_object", "path": "own_blocks.Narrow"},
        {"_target_": "hydra.utils.get_method", "path": "own_blocks.narrow"},
        {"_target_": "hydra.utils.get_class", "_args_": ["own_blocks.Narrow"]},
    ],
)
def test_everything_that_names_code_is_code_of_the_run(photographs: Path, block: dict[str, Any]) -> None:
    settings = with_value(configured(photographs), "model.block", block)
    assert len([path for path in settings.code() if path.startswith("own_blocks.")]) == 1


OWN = """
from torchvision.models.resnet import BasicBlock


class Narrow(BasicBlock):
    def forward(self, images):
        return super().forward(images) * {scale}
"""
BLOCK = [
    "model=custom",
    "model._target_=torchvision.models.ResNet",
    "+model.block._target_=hydra.utils.get_class",
    "+model.block.path=own_blocks.Narrow",
    "+model.layers=[1,1,1,1]",
    "+model.num_classes=3",
    "model.checkpoint=null",
    "explainer=edges",
    "metric=[]",
    "num_samples=3",
    "task.pictures=0",
]


def test_results_of_code_that_is_named_by_a_path_are_not_current_when_it_has_changed(photographs: Path) -> None:
    module = photographs / "own_blocks.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(photographs), os.environ.get("PYTHONPATH", "")])

    def start(*more: str) -> subprocess.CompletedProcess[str]:
        command = command_line(photographs, *BLOCK, *more)
        return subprocess.run(command, cwd=photographs, env=environment, capture_output=True, text=True, check=False)

    module.write_text(OWN.format(scale=1))
    first = start()
    assert first.returncode == 0, first.stderr
    again = start()
    assert again.returncode == 0
    assert "3 of 3 samples done" in again.stdout
    before = (photographs / "run/samples.csv").read_text()
    module.write_text(OWN.format(scale=0.5))
    changed = start()
    assert changed.returncode == 2
    assert "the code that the configuration names has changed" in changed.stderr
    assert (photographs / "run/samples.csv").read_text() == before
    assert start("task.on_change=anew").returncode == 0
    assert (photographs / "run/samples.csv").read_text() != before
