"""Configuration files of one's own in ``./conf``, and where ``hydra.searchpath`` says, are found like the package's."""

import json
import os
import subprocess
import sys
from pathlib import Path

from own_files import write_experiment, write_explainer
from small_runs import ROOT, overrides


def started(folder: Path, *typed: str) -> "subprocess.CompletedProcess[str]":
    """Start run.py in a folder; what is not said otherwise is small."""
    small = [text for text in overrides(folder) if not text.startswith("output_dir=")]
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *typed, *small, "num_samples=3", "metric=[]", "task.pictures=0"],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def measured(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["explainer"] for path in folder.glob("outputs/evaluate/**/summary.json"))


def test_a_sweep_in_several_processes_finds_a_file_of_ones_own(photographs: Path) -> None:
    write_explainer(photographs)
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = started(photographs, "-m", "explainer=mine,center", *launcher)
    assert done.returncode == 0, done.stderr
    assert measured(photographs) == ["center", "mine"]
    assert not (photographs / "outputs/sweeps").exists()  # no note of the sweep is left beside the results


def test_rows_of_an_experiment_of_ones_own(photographs: Path) -> None:
    write_explainer(photographs)
    write_experiment(photographs, "mine", "center")
    done = started(photographs, "experiment=own", "reproduce.processes=2")
    assert done.returncode == 0, done.stderr
    assert measured(photographs) == ["center", "mine"]


def test_a_search_path_that_is_typed_holds_for_rows_too(photographs: Path) -> None:
    write_explainer(photographs, "elsewhere", "far")
    row = "reproduce.rows=[{label: Far, overrides: ['explainer=far']}]"
    searched = "hydra.searchpath=[file://elsewhere]"
    done = started(photographs, "experiment=demo", searched, row, "reproduce.product.reference=null",
                   "reproduce.controls=[]")  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = started(photographs, searched, "task.explainers=[far,center]")
    assert done.returncode == 0, done.stderr
    assert {"center", "far"} == set(measured(photographs))


def test_a_file_that_would_be_hidden_is_refused(photographs: Path) -> None:
    copied = photographs / "conf/explainer/ours.yaml"
    copied.parent.mkdir(parents=True)
    text = (ROOT / "conf/explainer/ours.yaml").read_text()
    copied.write_text(text)
    assert started(photographs, "device=moon").stderr.startswith("error: device")  # a copy hides nothing
    copied.write_text(f"{text}split: symmetric\n")
    done = started(photographs, "explainer=center")
    assert done.returncode == 2
    said = "error: conf/explainer/ours.yaml is hidden by the file of that name in relsplit: rename yours\n"
    assert done.stderr == said


def test_a_misspelt_name_is_compared_with_ones_own_too(photographs: Path) -> None:
    write_explainer(photographs, name="brightness")
    done = started(photographs, "explainer=brigthness")
    assert done.returncode == 2
    assert "did you mean brightness?" in done.stderr
    done = started(photographs, "explainer=brightness", "explainer.targt=label")
    assert "did you mean explainer.target" in done.stderr
