"""``python run.py`` end to end on a small folder of photographs: results, resumption, refusal, exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pausing import pausing, wait_until_paused
from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.evaluate.task import run
from relsplit.bench.explain.prepare import prepare
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import read_maps
from relsplit.bench.runs.sampled_curves import sampled_curves
from relsplit.bench.runs.store import SampleStore, read_curves, read_samples
from relsplit.bench.runs.summary import read_summary
from relsplit.errors import IncompleteRun, InputError
from small_runs import ROOT, command_line, configured, overrides

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def test_leaves_what_was_promised(photographs: Path) -> None:
    folder = evaluate(configured(photographs, "protocol=[published,strict]", "explainer=ours"))
    rows = read_samples(folder)
    assert list(rows.columns)[:10] == (
        [
            "sample_id",
            "path",
            "label",
            "predicted",
            "probability",
            "insertion",
            "deletion",
            "id_score",
            "relevance_sum",
            "seconds",
        ]
    )
    assert len(rows) == 9
    assert rows.groupby("label").size().tolist() == [3, 3, 3]
    assert np.allclose(rows.id_score, rows.insertion - rows.deletion)
    assert np.allclose(rows.relevance_sum, rows.probability, rtol=1e-5)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["explainer"], summary["split"], summary["dataset"], summary["protocol"]) == (
        "ours",
        "ratio",
        "image_folder",
        "published",
    )
    assert summary["insertion"] == pytest.approx(rows.insertion.mean())
    assert summary["id_score_strict_stderr"] == pytest.approx(rows.id_score_strict.std() / 3)
    assert {"torch", "relsplit"} <= summary["versions"].keys()
    curves = read_curves(folder)
    assert {(c.sample_id, c.protocol) for c in curves} == {
        (s, p) for s in rows.sample_id for p in ("published", "strict")
    }
    assert (folder / "config.yaml").exists()
    assert Image.open(folder / "pictures" / "samples.png").size[0] > 300


def test_goes_on_where_it_stopped_with_the_same_numbers(photographs: Path) -> None:
    folder = evaluate(configured(photographs))
    whole, curves = read_samples(folder), read_curves(folder)
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    # As if killed within the fourth line; the table that people see was a row further.
    (folder / "curves.jsonl").write_text("".join(lines[:3]) + lines[3][:200])
    (folder / "summary.json").unlink()
    evaluate(configured(photographs))
    again = read_samples(folder)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), whole.drop(columns="seconds"), check_exact=True)
    assert read_curves(folder) == curves
    assert list(again["seconds"][:3]) == list(whole["seconds"][:3])  # what was done was not done again
    table = pd.read_csv(folder / "samples.csv", dtype={"sample_id": str})
    pd.testing.assert_frame_equal(table, again, check_exact=True)


def test_lines_of_another_run_are_not_taken_over(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    center = evaluate(configured(photographs, "explainer=center", f"output_dir={photographs / 'center'}"))
    folder = evaluate(configured(photographs, "explainer=random"))
    expected = read_samples(folder)
    for name in ("curves.jsonl", "samples.csv", "summary.json", "maps.npz"):
        shutil.copy(center / name, folder / name)
    with pytest.raises(InputError, match="is of another run"):
        read_maps(folder)
    evaluate(configured(photographs, "explainer=random"))
    assert "9 lines of" in capsys.readouterr().out
    pd.testing.assert_frame_equal(read_samples(folder).drop(columns="seconds"), expected.drop(columns="seconds"))
    assert read_summary(folder, {})["explainer"] == "random"
    read_maps(folder)


def test_a_folder_of_some_of_the_networks_classes_will(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(photographs / "weights.pt", weights_only=True)
    names = {"finch": 0, "jay": 1, "wren": 2}
    torch.save({"state_dict": state, "class_to_idx": names}, photographs / "weights.pt")
    whole = evaluate(configured(photographs, f"output_dir={photographs / 'whole'}", "explainer=edges"))
    some = photographs / "some"
    for name in ("jay", "wren"):
        shutil.copytree(photographs / "photographs/test" / name, some / name)
    run(configured(photographs, f"dataset.root={some}", "explainer=edges", "num_samples=8"))
    rows = read_samples(photographs / "run")
    assert rows.groupby("label").size().to_dict() == {1: 4, 2: 4}
    expected, found = (table.set_index("sample_id")["insertion"] for table in (read_samples(whole), rows))
    shared = expected.index.intersection(found.index)
    assert len(shared) == 6
    np.testing.assert_allclose(found[shared], expected[shared], atol=1e-6)
    right = 100 * (rows.label == rows.predicted).mean()
    assert f"the network is right on {right:.1f} % of these images" in capsys.readouterr().out


def test_an_accuracy_far_below_the_checkpoints_is_said(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photographs / "summary.json").write_text('{"accuracy": 0.99}')  # beside the weights, as a training leaves it
    run(configured(photographs, "explainer=edges"))
    assert "(on its own test images: 99.0 %): are dataset.mean, std" in " ".join(capsys.readouterr().out.split())


def test_secrets_are_not_written_down(photographs: Path) -> None:
    secret = "a1b2c3d4e5f6"
    command = command_line(photographs, "explainer=center", f"+logger.settings={{api_key: {secret}}}")
    command = [text for text in command if text != "logger=none"]
    environment = {**ONE_THREAD, "WANDB_MODE": "disabled", "PRIVATE": secret}
    done = subprocess.run(
        [*command, "+logger.entity=${oc.env:PRIVATE}", "+logger.notes=${oc.env:PRIVATE}"],
        cwd=photographs, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config, summary = ((photographs / "run" / name).read_text() for name in ("config.yaml", "summary.json"))
    assert "api_key: ***" in summary
    assert secret not in summary + config
    assert "settings" not in config


def test_refuses_a_folder_of_another_configuration(photographs: Path) -> None:
    evaluate(configured(photographs, "explainer=center"))
    with pytest.raises(InputError, match=r"explainer\.name was 'center', now 'random'"):
        evaluate(configured(photographs, "explainer=random"))
    folder = evaluate(configured(photographs, "explainer=center", "task.forward_batch_size=5"))
    assert len(read_samples(folder)) == 9


def test_masked_images_are_read_in_half_precision_and_the_run_says_so(photographs: Path) -> None:
    whole = evaluate(configured(photographs, f"output_dir={photographs / 'fp32'}"))
    half = evaluate(configured(photographs, f"output_dir={photographs / 'bf16'}", "task.precision=bf16"))
    assert (read_summary(whole, {})["precision"], read_summary(half, {})["precision"]) == ("fp32", "bf16")
    first, second = read_samples(whole), read_samples(half)
    difference = (first.id_score - second.id_score).abs()
    assert 0 < difference.mean() <= 0.01  # 8 significant bits of weights and activations
    pd.testing.assert_series_equal(first.relevance_sum, second.relevance_sum)  # maps are made in full precision
    with pytest.raises(InputError, match=r"task\.precision was 'bf16', now 'fp32'"):
        evaluate(configured(photographs, f"output_dir={photographs / 'bf16'}"))
    with pytest.raises(InputError, match=r"task\.precision=fp16 is for GPUs"):
        evaluate(configured(photographs, f"output_dir={photographs / 'fp16'}", "task.precision=fp16", "device=cpu"))


def test_refined_curves_say_how_far_they_may_be_off(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocols = "protocol=[strict,published]"
    whole = evaluate(configured(photographs, f"output_dir={photographs / 'whole'}", protocols))
    refining = (protocols, "task.curve_tolerance=0.02")
    folder = evaluate(configured(photographs, *refining))
    summary, expected = read_summary(folder, {}), read_summary(whole, {})
    assert (summary["curve_tolerance"], expected["curve_tolerance"]) == (0.02, None)
    for score in ("insertion", "deletion", "id_score"):
        assert 0 < abs(summary[score] - expected[score]) <= summary[f"{score}_error_bound"]
        assert summary[f"{score}_published"] == expected[f"{score}_published"]
        assert f"{score}_error_bound_published" not in summary
        assert f"{score}_error_bound" not in expected
    assert 0.1 < summary["evaluated_points"] < 0.7
    # What was evaluated is what whole curves are at these points, and pictures and reports draw a line through it.
    found, everything = ([curve for curve in read_curves(run) if curve.protocol == "strict"] for run in (folder, whole))
    for refined, curve in zip(found, everything, strict=True):
        for name in ("insertion", "deletion"):
            positions, probabilities = refined.evaluated(name)
            assert probabilities == pytest.approx(np.interp(positions, *curve.evaluated(name)), abs=1e-6)
            assert len(positions) < len(curve.fraction) == len(curve.evaluated(name)[0])
    drawn, true = (sampled_curves(run, "strict") for run in (folder, whole))
    assert np.abs(np.array(drawn) - np.array(true)).mean() < 0.05
    # An interrupted run goes on with the same points.
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    rows = read_samples(folder)
    (folder / "curves.jsonl").write_text("".join(lines[:3]))
    (folder / "summary.json").unlink()
    evaluate(configured(photographs, *refining))
    again = read_samples(folder)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), rows.drop(columns="seconds"), check_exact=True)
    assert [curve for curve in read_curves(folder) if curve.protocol == "strict"] == found
    with pytest.raises(InputError, match=r"task\.curve_tolerance was 0\.02, now None"):
        evaluate(configured(photographs, protocols))
    run(configured(photographs, *refining))
    assert f"mean id_score within {summary['id_score_error_bound']:.4f}" in capsys.readouterr().out


def test_skipped_images_are_named_and_the_run_is_incomplete(photographs: Path) -> None:
    more = ("explainer=center", "num_samples=12")
    cfg = configured(photographs, *more)
    broken = prepare(cfg).samples[0].path
    broken.write_text("not a picture")
    with pytest.raises(InputError, match=str(broken)):
        evaluate(cfg)
    other = (*more, "dataset.on_bad_image=skip", f"output_dir={photographs / 'skipping'}")
    with pytest.raises(IncompleteRun, match="1 of 12"):
        run(configured(photographs, *other))
    store = SampleStore(photographs / "skipping", read_config(photographs / "skipping"))
    assert len(store.entries()) == 11
    assert [sample.path for sample in store.skipped()] == [str(broken)]
    shown = read_maps(photographs / "skipping").sample_id
    assert list(shown) == list(store.samples()["sample_id"])[:2]


def test_the_order_of_protocols_and_metrics_is_part_of_a_run(photographs: Path) -> None:
    evaluate(configured(photographs, "explainer=center", "protocol=[published,strict]"))
    with pytest.raises(InputError, match="order of protocol"):
        evaluate(configured(photographs, "explainer=center", "protocol=[strict,published]"))


def test_no_further_metrics_on_request(photographs: Path) -> None:
    folder = evaluate(configured(photographs, "explainer=center", "metric=[]"))
    assert list(read_samples(folder).columns)[-1] == "flat_map"


def test_a_text_file_that_poses_as_an_image_leaves_nothing_behind(photographs: Path) -> None:
    (photographs / "photographs/test/jay/2.png").write_text("not a picture")
    command = command_line(photographs, "explainer=center", "num_samples=12", "dataset.num_workers=2")
    done = subprocess.run(command, cwd=photographs, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: cannot read the image")
    assert not (photographs / "run").exists()


def test_killed_at_any_moment_it_completes_the_same_set(photographs: Path) -> None:
    command = command_line(photographs, "explainer=edges", "num_samples=12", "task.batch_size=1")
    paused = pausing("curves.jsonl", 4, command[2:])
    process = subprocess.Popen(paused, cwd=photographs, env=ONE_THREAD, stdout=subprocess.DEVNULL)
    wait_until_paused(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (photographs / "run" / "summary.json").exists()
    assert subprocess.run(command, cwd=photographs, env=ONE_THREAD, check=False).returncode == 0
    resumed = read_samples(photographs / "run")
    undisturbed = command_line(
        photographs, "explainer=edges", "num_samples=12", "task.batch_size=1", f"output_dir={photographs / 'whole'}"
    )
    assert subprocess.run(undisturbed, cwd=photographs, env=ONE_THREAD, check=False).returncode == 0
    whole = read_samples(photographs / "whole")
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), whole.drop(columns="seconds"), check_exact=True)


def test_two_processes_give_what_one_gives(photographs: Path) -> None:
    more = ("explainer=ours", "metric=[localisation,sparsity,conservation,sensitivity,randomisation]")
    two = (*more, "trainer.devices=2", "device=cpu", f"output_dir={photographs / 'two'}")
    for command in (command_line(photographs, *more), command_line(photographs, *two)):
        done = subprocess.run(command, cwd=photographs, env=ONE_THREAD, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    one, other = read_samples(photographs / "run"), read_samples(photographs / "two")
    assert len(other) == 9  # five batches for two processes: no sample is repeated to make the shares even
    pd.testing.assert_frame_equal(other.drop(columns="seconds"), one.drop(columns="seconds"), check_exact=True)
    assert read_curves(photographs / "two") == read_curves(photographs / "run")
    assert {"gini", "conservation_gap", "max_sensitivity", "rank_correlation_fc"} <= set(one.columns)
    assert one["energy_in_box"].isna().all()  # photographs in folders have no boxes
    assert json.loads((photographs / "run/summary.json").read_text())["energy_in_box"] is None


@pytest.mark.parametrize(
    ("launcher", "option", "protocols"),
    [("joblib", "n_jobs=2", ("published",)), ("submitit_local", "timeout_min=60", ("published", "strict"))],
)
def test_a_sweep_through_a_launcher_leaves_every_point(
    photographs: Path, launcher: str, option: str, protocols: tuple[str, ...]
) -> None:
    options = [item for item in overrides(photographs) if not item.startswith("output_dir=")]
    sweep = [
        "-m",
        f"hydra/launcher={launcher}",
        f"hydra.sweep.dir={photographs / 'sweep'}",
        "explainer=center,random",
        f"hydra.launcher.{option}",
        f"protocol={','.join(protocols)}",
        *options,
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *sweep],
        cwd=photographs, env=ONE_THREAD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summaries = [json.loads(path.read_text()) for path in photographs.glob("outputs/evaluate/**/summary.json")]
    assert sorted((each["explainer"], each["protocol"], each["num_samples"]) for each in summaries) == [
        (explainer, protocol, 9) for explainer in ("center", "random") for protocol in protocols
    ]
    for each in summaries:  # the command of this point alone
        assert {f"explainer={each['explainer']}", f"protocol={each['protocol']}"} <= set(each["command"].split())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["explainer=unheard_of"], "explainer/unheard_of"),
        (["dataset.root=nowhere"], "nowhere"),
        (["explainer.split=thirds"], "thirds"),
        (["task.batch_size=0"], "batch_size"),
        (["num_samples=all"], "num_samples must be a whole number"),
        (["task.forward_batch_size=0"], "forward_batch_size"),
        (["task.scored_class=lable"], "label, predicted"),
        (["protocol=[]"], "protocol"),
        (["dataset.on_bad_image=ignore"], "on_bad_image"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(photographs: Path, more: list[str], words: str) -> None:
    done = subprocess.run(
        command_line(photographs, *more), cwd=photographs, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert not (photographs / "run").exists()
