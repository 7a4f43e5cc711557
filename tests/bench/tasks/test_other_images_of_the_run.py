"""``metric=grid_pointing`` in an evaluation: its column, resumption, other batches and processes, what it refuses."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from colour_detector import colour_images
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.runs.store import read_samples
from relsplit.bench.runs.summary import read_summary
from relsplit.errors import InputError
from small_runs import ROOT, command_line, configured

NORMALISED = ("dataset.mean=[0,0,0]", "dataset.std=[1,1,1]")
OPTIONS = ("model=custom", "model._target_=colour_detector.ColourDetector", "metric=[grid_pointing]", "num_samples=16",
           "task.pictures=0", "model.checkpoint=null", *NORMALISED)  # fmt: skip


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Four classes, each of one colour, with four test images each."""
    images, targets = colour_images(16, side=32)
    for index, (image, target) in enumerate(zip(images, targets.tolist(), strict=True)):
        for split in ("train", "test"):
            folder = tmp_path / "photographs" / split / f"{target}"
            folder.mkdir(parents=True, exist_ok=True)
            values = (255 * image.permute(1, 2, 0).clamp(0, 1)).round().to(torch.uint8).numpy()
            Image.fromarray(values).save(folder / f"{index}.png")
    return tmp_path


def run(folder: Path, *more: str) -> Settings:
    return configured(folder, *OPTIONS, *more)


@pytest.mark.parametrize(
    ("explainer", "expected"), [("ours", 1), ("grad_cam explainer.target_layer=auto", 1), ("center", 0.25)]
)
def test_the_column_and_its_mean(colours: Path, explainer: str, expected: float) -> None:
    folder = evaluate(run(colours, *f"explainer={explainer}".split(), "metric.grid_pointing.explained=all"))
    scores = read_samples(folder)["grid_pointing"]
    assert len(scores) == 16
    assert scores.tolist() == pytest.approx([expected] * 16, abs=1e-4)
    summary = read_summary(folder, {})
    assert summary["grid_pointing"] == pytest.approx(scores.mean())
    assert summary["grid_pointing_stderr"] is not None


def test_it_goes_on_with_the_same_mosaics_whatever_the_batches(colours: Path) -> None:
    folder = evaluate(run(colours, "explainer=random"))
    whole = read_samples(folder)
    assert whole["grid_pointing"].nunique() == 16
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    (folder / "curves.jsonl").write_text("".join(lines[:3]) + lines[3][:200])  # killed within a line
    (folder / "summary.json").unlink()
    again = read_samples(evaluate(run(colours, "explainer=random")))
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), whole.drop(columns="seconds"), check_exact=True)
    other = evaluate(run(colours, "explainer=random", "task.batch_size=7", f"output_dir={colours / 'sevens'}"))
    pd.testing.assert_series_equal(read_samples(other)["grid_pointing"], whole["grid_pointing"], check_exact=True)


@pytest.mark.parametrize("change", ["replaced", "removed", "added"])
def test_another_image_beside_those_that_were_measured_is_noticed(colours: Path, change: str) -> None:
    """Though it was not measured itself: what stands in a mosaic is drawn among all."""
    folder = evaluate(run(colours, "explainer=random"))
    rows = read_samples(folder)
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    (folder / "curves.jsonl").write_text("".join(lines[:3]))
    (folder / "summary.json").unlink()
    image = Path(rows["path"].iloc[12])
    if change == "removed":
        image.unlink()
    else:
        target = image if change == "replaced" else image.with_name("another.png")
        Image.fromarray(255 - np.asarray(Image.open(image)) // 9).save(target)
    for more in ([], ["task.on_change=anew"]):
        with pytest.raises(InputError, match=r"\d samples that a metric has measured beside other images") as caught:
            evaluate(run(colours, "explainer=random", *more))
        assert "\n" not in str(caught.value)
    evaluate(run(colours, "explainer=random", "task.on_change=accept"))


def test_two_processes_and_several_explainers_play_with_the_same_mosaics(colours: Path) -> None:
    expected = read_samples(evaluate(run(colours, "explainer=random")))["grid_pointing"]
    more = ["task.explainers=[random,center]", "trainer.devices=2", "device=cpu", f"output_dir={colours / 'both'}"]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        command_line(colours, *OPTIONS, *more),
        cwd=colours, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_samples(colours / "both/random")["grid_pointing"]
    pd.testing.assert_series_equal(found, expected, check_exact=True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["metric.grid_pointing.cells=1"], "metric.grid_pointing.cells must be one of 2, 3, not 1"),
        (["metric.grid_pointing.cells=4"], "metric.grid_pointing.cells must be one of 2, 3, not 4"),
        (["metric.grid_pointing.cells=3"], "images of 9 classes together, but the samples are of 4"),
        (["metric.grid_pointing.confidence=2"], "metric.grid_pointing.confidence must be"),
        (["dataset.mean=[0.5,0.5,0.5]", "metric.grid_pointing.confidence=1"], "a lower confidence"),
    ],
)
def test_what_cannot_be_played_is_one_line_before_anything_is_written(
    colours: Path, more: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        evaluate(run(colours, "explainer=center", *more))
    assert "\n" not in str(caught.value)
    assert not (colours / "run").exists()
