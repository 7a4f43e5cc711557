"""The wheel, installed into an environment of its own and used from an empty folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from own_files import write_explainer
from small_runs import ROOT

SMALL = [
    "num_samples=2", "metric=[]", "task.pictures=1", "logger=none", "device=cpu", "trainer.max_epochs=1",
    "dataset.catalogue.train_per_species=4", "dataset.catalogue.test_per_species=1", "dataset.image_size=32",
]  # fmt: skip


def run(*command: str | Path, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with nothing of this checkout on its path."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made of a copy, so that nothing built before is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    done = run(sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", "dist", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "dist").iterdir()
    return made


def environment(wheel: Path, folder: Path) -> Path:
    """Install the wheel alone into a new environment; return the folder of its programs."""
    done = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr
    (python,) = folder.glob("bin/python")
    install = ["install", "--quiet", "--no-deps", "--no-index", wheel]
    done = run(sys.executable, "-m", "pip", "--python", python, *install, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr
    return python.parent


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and behind it the libraries that the tests run with."""
    home = tmp_path_factory.mktemp("environment")
    found = environment(wheel, home)
    (packages,) = home.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith("-packages")]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    return found


@pytest.fixture(scope="module")
def folder(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was empty, after a first evaluation, which draws the demo and trains its network."""
    home = tmp_path_factory.mktemp("empty")
    done = run(programs / "relsplit", "explainer=ours", *SMALL, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "2 samples: outputs/evaluate/demo/demo/ours-ratio-" in done.stdout
    return home


def summaries(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["explainer"] for path in folder.glob("outputs/evaluate/**/summary.json")]


def test_results_lie_where_it_was_started(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {"outputs", "data"}
    assert "ours" in summaries(folder)


def test_a_sweep_with_an_explainer_of_ones_own(programs: Path, folder: Path) -> None:
    write_explainer(folder)
    done = run(programs / "relsplit", "-m", "explainer=mine,grad_cam", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert {"grad_cam", "mine"} <= set(summaries(folder))
    assert not (folder / "outputs/sweeps").exists()


def test_a_photograph(programs: Path, folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "x.jpg")
    done = run(programs / "relsplit", "task=explain", "task.images=[x.jpg]", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert list(folder.glob("outputs/explain/**/maps.npz"))


def test_the_first_page_as_it_is_typed(programs: Path, tmp_path: Path) -> None:
    """Every command of docs/start.md, one after another, in an empty folder with a photograph."""
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if not line.startswith("pip install")]
    assert len(commands) >= 5
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.jpg")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = run("bash", "-c", command, cwd=tmp_path, PATH=path, WANDB_SILENT="true")
        assert done.returncode == 0, f"{command}: {done.stderr}"
        named = [word.rstrip(",:;") for word in done.stdout.split() if word.startswith("outputs/")]
        assert named, command
        assert [name for name in named if not (tmp_path / name).exists()] == [], command


def test_the_three_ways_to_type_it_are_one(programs: Path, folder: Path) -> None:
    ways = [["-m", "relsplit"], [ROOT / "run.py"]]  # beside `relsplit`, which began it
    said = [run(programs / "python", *way, "explainer=ours", *SMALL, cwd=folder) for way in ways]
    assert [done.returncode for done in said] == [0, 0]
    assert "2 of 2 samples done" in said[0].stdout
    assert said[0].stdout == said[1].stdout


def test_a_paper_and_its_report_come_with_it(programs: Path, folder: Path) -> None:
    rows = "reproduce.rows=[{label: Ours, paper_row: '6', overrides: ['explainer=ours']}]"
    done = run(programs / "relsplit", "experiment=otsuki2024/table1", rows, "reproduce.controls=[]", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert run(programs / "relsplit", "task=report", cwd=folder).returncode == 0
    assert "Table 1" in (folder / "outputs/report.html").read_text()


def test_what_the_package_says_of_itself(programs: Path, folder: Path) -> None:
    code = "import relsplit; print(relsplit.__version__, 'LRP' in dir(relsplit), relsplit.__file__)"
    version, shown, place = run(programs / "python", "-c", code, cwd=folder).stdout.split()
    assert shown == "True"
    assert list(programs.parent.glob(f"lib/python*/site-packages/relsplit-{version}.dist-info"))
    assert Path(place).is_relative_to(programs.parent)


def test_without_the_bench_it_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    programs = environment(wheel, tmp_path / "bare")
    done = run(programs / "relsplit", "explainer=ours", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: No module named 'hydra': it comes with `pip install \"relsplit[bench]\"`\n"
