"""Configuration files of one's own in ``./conf``, and where ``hydra.searchpath`` says, are found like the package's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from own_files import write_experiment, write_explainer
from relsplit.bench.configuration.search_path import search_own_files
from relsplit.bench.failure import described
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
    said = "conf/explainer/ours.yaml is hidden by the file of that name in relsplit: rename yours, or start in a folder"
    assert done.stderr == f"error: {said} without it\n"


def test_a_misspelt_name_is_compared_with_ones_own_too(photographs: Path) -> None:
    write_explainer(photographs, name="brightness")
    done = started(photographs, "explainer=brigthness")
    assert done.returncode == 2
    assert "did you mean brightness?" in done.stderr
    done = started(photographs, "explainer=brightness", "explainer.targt=label")
    assert "did you mean explainer.target" in done.stderr


BROKEN = {
    "list": (b"target: [predicted", "line 1: expected ',' or ']'"),
    "tab": (b"name: x\noptions:\n\t- a", "line 3: found character"),
    "twice": (b"name: x\nname: y", "line 2: found duplicate key name"),
    "two": (b"name: x\n---\nname: y", "line 2: but found another document"),
    "tag": (b"name: !!python/name:os.system", "line 1: could not determine a constructor"),
    "interpolation": (b"name: ${nowhere", "cannot be read: "),
    "nothing": (b"null: x", "cannot be read: "),
    "set": (b"name: !!set {a, b}", "cannot be read: "),
    "letters": (b"name: \xff", "cannot be read: 'utf-8' codec"),
    "itself": (b"name: &a {b: *a}", "it refers to itself"),
}
ERRORS = (YAMLError, UnicodeDecodeError, HydraException, OmegaConfBaseException, RecursionError)


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, said = BROKEN[name]
    (tmp_path / "conf/explainer").mkdir(parents=True)
    (tmp_path / "conf/explainer/right.yaml").write_text("name: right\n")
    (tmp_path / "conf/explainer/folder.yaml").mkdir()
    (tmp_path / f"conf/explainer/{name}.yaml").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    search_own_files()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        with pytest.raises(ERRORS) as caught:
            compose("config", [f"explainer={name}"])
        kind, code, text = described(caught.value, [f"explainer={name}"])
    assert (kind, code) == ("error", 2)
    assert text.startswith(f"conf/explainer/{name}.yaml")
    assert said in text


def test_files_that_name_one_another_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf/explainer").mkdir(parents=True)
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / f"conf/explainer/{name}.yaml").write_text(f"defaults: [{other}]\n")
    monkeypatch.chdir(tmp_path)
    search_own_files()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        with pytest.raises(RecursionError) as caught:
            compose("config", ["explainer=one"])
        kind, code, text = described(caught.value, ["explainer=one"])
    assert (kind, code) == ("error", 2)
    assert "in a circle" in text


def test_code_of_ones_own_does_not_end_the_program(photographs: Path) -> None:
    """Else nothing would have been measured, and the exit code would say that all is done."""
    write_explainer(photographs)
    (photographs / "mine.py").write_text("import sys\nsys.exit(0)\n")
    done = started(photographs, "explainer=mine")
    assert done.returncode == 2
    assert done.stderr == f"error: {photographs}/mine.py, line 2, ends the program (sys.exit): remove that\n"
