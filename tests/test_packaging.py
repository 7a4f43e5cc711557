"""What the library needs: torch alone. And what the package says of itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import relsplit.explainers
import relsplit.metrics

PROJECT = Path(__file__).parents[1]
TORCH_ALONE = """
import importlib.metadata, re, sys

def required(name, found):
    for line in importlib.metadata.requires(name) or []:
        needed = re.match(r"[\\w.-]+", line)[0]
        if "extra ==" not in line and needed not in found:
            found.add(needed)
            try:
                required(needed, found)
            except importlib.metadata.PackageNotFoundError:  # for another platform
                pass
    return found

def canonical(names):
    return {re.sub("[-_.]+", "-", name).lower() for name in names}

torchs = canonical(required("torch", {"torch"}))
modules = importlib.metadata.packages_distributions()
allowed = {module for module, owners in modules.items() if canonical(owners) & torchs}
allowed |= {name.replace("-", "_") for name in torchs}  # Python 3.10 does not know the modules of every package

class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in allowed and top != "relsplit" and path is None:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import torch
from torch import nn
from relsplit import LRP, heat_quantization
from relsplit.explainers import Explainer, RISE, SmoothGrad

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    def forward(self, x):
        return x + self.branch(x)

torch.manual_seed(0)
head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Block(), nn.MaxPool2d(2), Block(), head).eval()
images = torch.randn(2, 3, 16, 16)
relevance, sums = LRP(model).attribute(images, return_sums=True)
assert torch.allclose(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-5), sums
assert heat_quantization(relevance.sum(1)).shape == (2, 16, 16)
assert RISE(model, samples=4).attribute(images).shape == (2, 16, 16)
assert SmoothGrad(model, samples=2).attribute(images).shape == images.shape
others = {module.partition(".")[0] for module in sys.modules} & {"numpy", "torchvision", "captum", "hydra", "pandas"}
assert not others, others
"""


def test_torch_is_all_that_the_library_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TORCH_ALONE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is part of Python from 3.11 on")
def test_every_extra_of_the_bench_is_an_extra() -> None:
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert [re.match(r"\w+", line)[0] for line in project["dependencies"]] == ["torch"]  # type: ignore[index]
    assert {"metrics", "explainers", "bench", "dev"} <= project["optional-dependencies"].keys()


@pytest.mark.parametrize("face", [relsplit.explainers, relsplit.metrics])
def test_a_face_shows_what_it_says(face: object) -> None:
    for name in face.__all__:  # type: ignore[attr-defined]
        assert getattr(face, name).__module__.startswith(face.__name__)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        face.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_no_registry_and_no_folder_of_a_machine_is_named() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in tracked:
        path = PROJECT / name
        if path.suffix in (".txt", ".toml", ".yaml", ".cff") or path.name == "Makefile":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"https?://\S*(pypi|simple|index)\S*|/root/|/home/|file://", text), name


def test_the_public_ci_runs_what_is_said_here() -> None:
    job = yaml.safe_load((PROJECT / ".github/workflows/test.yml").read_text())["jobs"]["test"]
    assert any(step.get("run", "").startswith("make test ") for step in job["steps"])
    matrix = job["strategy"]["matrix"]
    pyproject = (PROJECT / "pyproject.toml").read_text()
    assert f'requires-python = ">={matrix["python"][0]}"' in pyproject
    (oldest,) = matrix["include"]
    versions = dict(version.split("==") for version in oldest["versions"].split())
    for name in ("torch", "torchvision"):  # the lowest that the package allows
        assert f'"{name}>={versions[name].removesuffix(".0")}"' in pyproject


def test_hooks_and_forms_are_whole() -> None:
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    lint = re.findall(r"\$\(BIN\)/(ruff \w+|mypy)", (PROJECT / "Makefile").read_text())
    assert {re.match(r"\.venv/bin/(ruff \w+|mypy)", hook["entry"])[1] for hook in local["hooks"]} == set(lint)  # type: ignore[index]
    forms = [yaml.safe_load(path.read_text()) for path in (PROJECT / ".github/ISSUE_TEMPLATE").glob("*.yml")]
    for form in forms:
        assert form.keys() >= {"name", "description", "body"}
        assert all("label" in field["attributes"] for field in form["body"])
    assert len(forms) >= 3
