"""What the dashboard shows, read back from the files of offline runs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from offline_dashboard import offline_runs
from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.runs.dashboard import Dashboard, opened
from relsplit.bench.runs.evaluation_dashboard import watched
from relsplit.bench.runs.sampled_curves import sampled_curves
from relsplit.bench.runs.store import read_curves, read_samples
from small_runs import ROOT, configured, overrides

OFFLINE = ("logger=wandb", "logger.mode=offline")


def test_an_evaluation_shows_progress_and_then_its_results(photographs: Path) -> None:
    folder = evaluate(configured(photographs, *OFFLINE, "protocol=[published,strict]", "explainer=ours"))
    (run,) = offline_runs(folder)
    rows, summary = read_samples(folder), json.loads((folder / "summary.json").read_text())
    assert (run.name, run.group) == ("image_folder-ours-ratio-published", "image_folder/ours-ratio/published")
    assert run.config["explainer"]["name"] == "ours"
    assert run.config["num_samples"] == 9
    assert run.logged("progress/samples")[-1] == 9
    assert run.logged("progress/share")[-1] == 1
    assert run.logged("progress/id_score")[-1] == pytest.approx(rows.id_score.mean())
    assert run.summary["id_score_strict"] == pytest.approx(summary["id_score_strict"])
    shown = run.table("samples")
    assert list(shown["sample_id"]) == list(rows["sample_id"])
    np.testing.assert_allclose(shown["id_score"], rows["id_score"])
    assert list(shown["overlay"].fillna("")) == ["Image"] * 2 + [""] * 7
    assert {"curves/published_table", "curves/strict_table"} <= {key for entry in run.history for key in entry}
    curves = run.table("curves/strict_table")
    for name, expected in zip(("insertion", "deletion"), sampled_curves(read_curves(folder), "strict"), strict=True):
        np.testing.assert_allclose(curves[curves["lineKey"] == name]["lineVal"], expected.mean(axis=0))
    assert Image.open(run.file("pictures")).size[0] > 300


def test_a_resumed_evaluation_goes_on_in_the_same_run(photographs: Path) -> None:
    folder = evaluate(configured(photographs, *OFFLINE, "explainer=center"))
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    (folder / "curves.jsonl").write_text("".join(lines[:4]))
    evaluate(configured(photographs, *OFFLINE, "explainer=center"))
    first, second = offline_runs(folder)
    assert first.run_id == second.run_id
    assert second.logged("progress/samples")[-1] == 9
    assert second.summary["id_score"] == pytest.approx(first.summary["id_score"])


def test_progress_arrives_while_an_evaluation_goes_on(photographs: Path) -> None:
    folder = evaluate(configured(photographs, "explainer=center"))
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    rows = read_samples(folder)
    going_on = photographs / "going on"
    going_on.mkdir()
    seen: list[dict[str, float]] = []

    class Run:
        def log(self, values: dict[str, float]) -> None:
            seen.append(values)

    board = Dashboard({"mode": "offline"}, going_on)
    board.run = Run()
    with watched(board, going_on, total=9, seconds=0.01):
        for number, line in enumerate(lines, start=1):
            name = "curves.jsonl" if number % 2 else "curves.rank1.jsonl"  # as two processes would
            with (going_on / name).open("a") as file:
                file.write(line[:50])
                file.flush()
                file.write(line[50:])
            while not seen or seen[-1]["progress/samples"] < number:
                pass
    assert [values["progress/samples"] for values in seen] == list(range(1, 10))
    np.testing.assert_allclose(
        [values["progress/insertion"] for values in seen], rows["insertion"].expanding().mean(), rtol=1e-12
    )


def test_a_dashboard_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def failing(run: object) -> None:
        calls.append(run)
        raise OSError("the dashboard is away")

    board = Dashboard({"mode": "offline"}, tmp_path)
    board.run = object()
    board.show(failing)
    board.show(failing)
    assert len(calls) == 1
    assert "the dashboard is away" in caplog.text
    with opened(Dashboard(None, tmp_path)) as off:
        off.show(failing)
    assert len(calls) == 1


def test_what_is_reproduced_is_shown_beside_what_was_published(photographs: Path) -> None:
    options = [each for each in overrides(photographs) if not each.startswith(("logger", "output_dir"))]
    command = [sys.executable, str(ROOT / "run.py"), "experiment=otsuki2024/table1", *options, *OFFLINE]
    done = subprocess.run(command, cwd=photographs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    products = photographs / "outputs/reproduce/otsuki2024/image_folder"
    (paper,) = offline_runs(products)
    assert (paper.name, paper.group, paper.job_type) == (
        "otsuki2024-image_folder", "otsuki2024/image_folder", "reproduce",
    )  # fmt: skip
    shown = paper.table("table1/table")
    frame = pd.read_csv(products / "table1/table.csv")
    assert list(shown.columns) == list(frame.columns)
    np.testing.assert_allclose(shown["id_score"].astype(float), frame["id_score"])
    np.testing.assert_allclose(shown["id_score_paper"].astype(float), frame["id_score_paper"])
    assert frame["id_score_paper"].notna().any()
    for figure in (key for entry in paper.history for key in entry if key.startswith("table1/curves")):
        assert Image.open(paper.file(figure)).size[0] > 300
    rows = offline_runs(photographs / "outputs/evaluate")
    assert {run.group for run in rows} == {"otsuki2024/image_folder"}
    assert len(paper.table("table1/rows")) == len(rows)


def test_the_points_of_a_sweep_are_runs_of_their_own(photographs: Path) -> None:
    options = [each for each in overrides(photographs) if not each.startswith(("logger", "output_dir"))]
    command = [sys.executable, str(ROOT / "run.py"), "-m", "explainer=center,random", *options, *OFFLINE]
    done = subprocess.run(command, cwd=photographs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = offline_runs(photographs / "outputs")
    assert {run.job_type for run in runs} == {"center", "random"}
    assert len({run.run_id for run in runs}) == 2
