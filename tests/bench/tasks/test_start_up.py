"""Nothing is imported before it is needed, and what is not done twice comes out as if it were."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning_utilities.core.rank_zero import rank_zero_only

from relsplit.bench.configuration.composition import files_read_once
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.configured import datasets_read_once, read_catalogue
from relsplit.bench.evaluate.resumption import was_measured
from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.explain.task import explain
from relsplit.bench.machine.processes import first_process
from relsplit.bench.runs.provenance import made_with
from relsplit.papers.plan import Composed, plan
from small_runs import ROOT, configured, overrides

PAPER = "otsuki2024"
HEAVY = {"torch", "pytorch_lightning", "captum", "pytorch_grad_cam", "torchmetrics", "matplotlib", "wandb", "scipy"}
IMPORTED = """
import runpy, sys
sys.argv = sys.argv[1:]
code = 0
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    code = ended.code
print("modules:", *{name.partition(".")[0] for name in sys.modules})
sys.exit(code)
"""


def started(folder: Path, *typed: str) -> tuple[int, set[str]]:
    """Start ``run.py``; return its exit code and the top-level modules that it imported."""
    command = [sys.executable, "-c", IMPORTED, str(ROOT / "run.py"), *typed]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("modules:")]
    assert said, done.stderr
    return done.returncode, set(said[-1].split()[1:])


@pytest.mark.parametrize(
    ("typed", "code"), [(["--help"], 0), (["num_samples=0"], 2), (["explainer=unheard_of"], 2), (["+colour=blue"], 2)]
)
def test_help_and_wrong_settings_need_no_torch(tmp_path: Path, typed: list[str], code: int) -> None:
    ended, imported = started(tmp_path, *typed)
    assert ended == code
    assert not imported & HEAVY


def test_an_unknown_option_needs_no_more_than_what_takes_it(photographs: Path) -> None:
    ended, imported = started(photographs, *overrides(photographs, "+explainer.colour=blue"))
    assert ended == 2
    assert not imported & HEAVY - {"torch"}


def test_a_finished_evaluation_imports_nothing_that_computes(photographs: Path) -> None:
    more = ("explainer=integrated_gradients", "explainer.steps=2", "num_samples=3", "task.pictures=0")
    folder = evaluate(configured(photographs, *more))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    ended, imported = started(photographs, *overrides(photographs, *more))
    assert ended == 0
    assert not imported & HEAVY - {"torch"}
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (folder / "samples.csv").write_text("spoilt")
    ended, imported = started(photographs, *overrides(photographs, *more))
    assert ended == 0
    assert "pytorch_lightning" in imported  # what is not whole is looked at by all that could mend it
    assert (folder / "samples.csv").read_text().startswith("sample_id,")


def test_maps_that_are_there_need_no_explainer(photographs: Path) -> None:
    more = ("task=explain", "explainer=integrated_gradients", "explainer.steps=2", "task.pictures=1")
    folder = explain(configured(photographs, *more))
    before = (folder / "maps.npz").stat().st_mtime_ns
    ended, imported = started(photographs, *overrides(photographs, *more))
    assert ended == 0
    assert not imported & {"captum", "pytorch_lightning"}
    assert (folder / "maps.npz").stat().st_mtime_ns == before


def test_only_what_was_carried_out_needs_no_further_check(photographs: Path) -> None:
    more = ("explainer=edges", "num_samples=3", "task.pictures=1")
    for task, measure in (("evaluate", evaluate), ("explain", explain)):
        cfg = configured(photographs, f"task={task}", *more, f"output_dir={photographs / task}")
        assert not was_measured(cfg)
        measure(cfg)
        assert was_measured(cfg)
        other = configured(photographs, f"task={task}", *more, "map=magnitude", f"output_dir={photographs / task}")
        assert not was_measured(other)


@pytest.fixture
def hydra_job() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"), files_read_once():
        HydraConfig.instance().set_config(compose("config", return_hydra_config=True))
        yield


@pytest.mark.usefixtures("hydra_job")
def test_rows_that_two_tables_share_are_the_rows_of_each() -> None:
    names = [f"{PAPER}/{name}" for name in ("table1", "figure5", "table2", "figure6")]
    shared: Composed = {}
    for name in names:
        config = compose("config", [f"experiment={name}"])
        together, alone = plan(config, name, [], shared), plan(config, name, [])
        assert [(row.label, row.command) for row in together.rows] == [(row.label, row.command) for row in alone.rows]
        for row, other in zip(together.rows, alone.rows, strict=True):
            assert [run.document() for run in row.runs] == [run.document() for run in other.runs]
    assert len(shared) < sum(len(plan(compose("config", [f"experiment={n}"]), n, []).rows) for n in names)


@pytest.mark.usefixtures("hydra_job")
def test_a_row_can_be_started_alone() -> None:
    Settings.composed(compose("config", [f"experiment={PAPER}/table1", "task=evaluate", "explainer=center"]))


def test_rows_share_one_reading_of_the_dataset(photographs: Path) -> None:
    cfg = configured(photographs)

    def read() -> Catalogue:
        return read_catalogue(cfg.dataset)

    with datasets_read_once():
        once = read()
        assert read() is once
        other = read_catalogue(configured(photographs, "dataset.catalogue.val_seed=7").dataset)
        assert other is not once
    again = read()
    assert again is not once
    assert again == once


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "SLURM_PROCID": "3"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "2"}, False),
    ],
)
def test_which_process_is_the_first(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], first: bool) -> None:
    monkeypatch.delattr(rank_zero_only, "rank", raising=False)
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert first_process() == first
    monkeypatch.setattr(rank_zero_only, "rank", 0 if not first else 1, raising=False)  # Lightning knows better
    assert first_process() != first


def test_only_the_users_own_code_is_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_to_find").mkdir()
    (tmp_path / "mine_to_find" / "idea.py").write_text("raise RuntimeError('it is not run')\n")
    installed = ["torchvision.models.ResNet", "relsplit.explainers.center.Center", "no_such_package.Thing"]
    none = made_with(installed)
    assert made_with([]) == none
    before = made_with([*installed, "mine_to_find.idea.Idea"])
    assert before["own"] != none["own"]
    assert before["package"] == none["package"]
    (tmp_path / "mine_to_find" / "idea.py").write_text("value = 1\n")
    after = made_with([*installed, "mine_to_find.idea.Idea"])
    assert after["own"] != before["own"]
    assert json.dumps(after) != json.dumps(before)
