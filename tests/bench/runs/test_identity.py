"""What names a run's folder, and whose code decides its numbers."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from relsplit.bench.configuration import identity
from relsplit.bench.configuration.identity import Identity, without_identity
from relsplit.bench.runs.provenance import own_code
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


@pytest.mark.parametrize("name", ["grad_cam", "score_cam"])
def test_a_map_that_is_not_smoothed_leaves_a_run_its_name(photographs: Path, name: str) -> None:
    off = configured(photographs, f"explainer={name}").identity()
    explainer = {key: value for key, value in off.document["explainer"].items() if key != "smoothing"}
    on = configured(photographs, f"explainer={name}", "explainer.smoothing=0.07").identity()
    assert explainer != off.document["explainer"]
    assert Identity({**off.document, "explainer": explainer}).hash == off.hash != on.hash


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
    "num_samples=3",
]


def started(photographs: Path, *more: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Start a run of a network whose block is the user's own, named by ``path:``."""
    own = os.pathsep.join([str(photographs), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": own}
    command = [each for each in command_line(photographs, *BLOCK, *more) if each != without]
    return subprocess.run(command, cwd=photographs, env=environment, capture_output=True, text=True, check=False)


def test_results_of_code_that_is_named_by_a_path_are_not_current_when_it_has_changed(photographs: Path) -> None:
    module, samples = photographs / "own_blocks.py", photographs / "run/samples.csv"
    evaluation = ("explainer=edges", "metric=[]", "task.pictures=0")
    module.write_text(OWN.format(scale=1))
    assert started(photographs, *evaluation).returncode == 0
    assert "3 of 3 samples done" in started(photographs, *evaluation).stdout
    before = samples.read_text()
    module.write_text(OWN.format(scale=0.5))
    changed = started(photographs, *evaluation)
    assert changed.returncode == 2
    assert "the code that the configuration names has changed" in changed.stderr
    assert samples.read_text() == before
    assert started(photographs, *evaluation, "task.on_change=anew").returncode == 0
    assert samples.read_text() != before


@pytest.mark.parametrize(("task", "result"), [("explain", "maps.npz"), ("conservation", "conservation.csv")])
def test_what_is_soon_computed_is_computed_again_when_its_code_has_changed(
    photographs: Path, task: str, result: str
) -> None:
    module, file = photographs / "own_blocks.py", photographs / "run" / result
    without = "task.pictures=2" if task == "conservation" else ""  # which draws none
    results = []
    for scale in (1, 1, 0.5):
        module.write_text(OWN.format(scale=scale))
        done = started(photographs, f"task={task}", "explainer=ours", without=without)
        assert done.returncode == 0, done.stderr
        results.append((file.stat().st_mtime_ns, file.read_bytes()))
    assert results[0] == results[1]
    assert results[2][1] != results[1][1]


HELPED = """
from {home} import scale

class Bright:
    forward_equivalents = 0.0

    def __init__(self, model):
        pass

    def attribute(self, images, target=None):
        return scale(images.mean(1))
"""
LAYOUTS = [
    ("mine.Bright", {"mine.py": HELPED.format(home="helper")}, "helper.py"),
    ("own.Bright", {"own/__init__.py": "from .bright import Bright", "own/bright.py": HELPED.format(home=".at.scales")},
     "own/at/scales.py"),
    ("own.bright.Bright", {"own/bright.py": HELPED.format(home="own.at.scales")}, "own/at/scales.py"),
    ("own.bright.Bright", {"own/bright.py": HELPED.format(home="..own.at")}, "own/at/__init__.py"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "files", "helper"), LAYOUTS)
def test_what_the_users_code_imports_is_code_of_the_run(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, target: str, files: dict[str, str], helper: str
) -> None:
    monkeypatch.syspath_prepend(photographs)
    for name, content in {**files, helper: "import json, torch, own\ndef scale(values): return values"}.items():
        (photographs / name).parent.mkdir(parents=True, exist_ok=True)
        (photographs / name).write_text(content)
    (photographs / "beside.py").write_text("value = 1")
    before = own_code([target, "torch.nn.Linear"])
    (photographs / "beside.py").write_text("value = 2")  # nobody imports it
    assert own_code([target]) == before
    (photographs / helper).write_text("def scale(values): return -values")
    assert own_code([target]) != before
    (photographs / helper).write_text("def scale(values: return values")
    assert own_code([target]) != before  # whoever imports it says that it is no Python


def test_a_module_that_is_named_alone_is_code_of_the_run(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(photographs)
    (photographs / "named_alone.py").write_text("value = 1")
    before = own_code(["named_alone"])
    (photographs / "named_alone.py").write_text("value = 2")
    assert own_code(["named_alone"]) != before


def test_pythons_own_modules_are_nobodys_own_code() -> None:
    assert own_code(["functools.partial", "collections.OrderedDict", "json", "sys.exit", ""]) == own_code([])
