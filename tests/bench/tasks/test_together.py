"""Several explainers in one evaluation: each gets the folder and the numbers that it would get alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from filelock import FileLock

from offline_dashboard import offline_runs
from relsplit.bench.configuration.identity import Identity
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.evaluate.task import measure, measure_together
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import read_maps
from relsplit.bench.runs.store import SampleStore, read_curves, read_samples
from relsplit.bench.runs.summary import read_summary
from relsplit.errors import InputError
from small_runs import ROOT, configured, overrides

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NAMES = ("ours", "grad_cam", "center")
SCORED = ("insertion", "deletion", "id_score")


def configs(photographs: Path, home: str, names: tuple[str, ...] = NAMES, *more: str) -> list[Settings]:
    return [
        configured(photographs, f"explainer={name}", f"output_dir={photographs / home / name}", *more) for name in names
    ]


def assert_same(found: Path, expected: Path, exact: bool = False) -> None:
    """Maps and what is measured of them to the last bit; what the network says of masked images to 1e-6."""
    rows, others = read_samples(found), read_samples(expected)
    assert list(rows.columns) == list(others.columns)
    scored = [name for name in rows.columns if name.startswith(SCORED)]
    rest = [name for name in rows.columns if name not in (*scored, "seconds")]
    pd.testing.assert_frame_equal(rows[rest], others[rest], check_exact=True)
    np.testing.assert_allclose(rows[scored], others[scored], rtol=0, atol=0 if exact else 1e-6)
    for curve, other in zip(read_curves(found), read_curves(expected), strict=True):
        assert (curve.sample_id, curve.protocol) == (other.sample_id, other.protocol)
        assert curve.fraction == other.fraction
        for name in ("insertion", "deletion"):
            np.testing.assert_allclose(getattr(curve, name), getattr(other, name), atol=0 if exact else 1e-6)
    assert np.array_equal(read_maps(found).map, read_maps(expected).map)
    assert (found / "manifest.csv").read_text() == (expected / "manifest.csv").read_text()
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (found, expected)]
    assert files[0] == files[1]


def typed(photographs: Path, *more: str) -> list[str]:
    flags = [each for each in more if each.startswith("-")]
    options = [each for each in (*overrides(photographs), *more) if each not in flags]
    return [sys.executable, str(ROOT / "run.py"), *flags, *options]


def test_one_command_leaves_what_a_command_for_each_leaves(photographs: Path) -> None:
    options = ("protocol=[published,strict]", "explainer.target=label", "output_dir=null")
    folders = {}
    for name, command in {
        "together": typed(photographs, f"task.explainers=[{','.join(NAMES)}]", *options),
        "alone": typed(photographs, "-m", f"explainer={','.join(NAMES)}", *options),
    }.items():
        home = photographs / name
        home.mkdir()
        done = subprocess.run(command, cwd=home, env=ONE_THREAD, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        folders[name] = {path.parent.relative_to(home): path.parent for path in home.rglob("summary.json")}
    assert folders["together"].keys() == folders["alone"].keys()
    assert len(folders["alone"]) == 3
    for name, folder in folders["together"].items():
        other = folders["alone"][name]
        assert (folder / "config.yaml").read_text() == (other / "config.yaml").read_text()
        assert_same(folder, other)
        summaries = [read_summary(each, {}) for each in (folder, other)]
        assert list(summaries[0]) == list(summaries[1])
        assert summaries[0]["config_hash"] == summaries[1]["config_hash"]
    # A later evaluation takes its run over.
    before = {path: path.stat().st_mtime_ns for path in (photographs / "together").rglob("*") if path.is_file()}
    again = subprocess.run(
        typed(photographs, "explainer=grad_cam", *options),
        cwd=photographs / "together", env=ONE_THREAD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_with_an_output_dir_each_has_a_folder_in_it(photographs: Path) -> None:
    home = photographs / "here"
    command = typed(photographs, "task.explainers=[center,random]", f"output_dir={home}", "num_samples=3")
    done = subprocess.run(command, cwd=photographs, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in home.iterdir()) == ["center", "random"]
    assert done.stdout.count(f"3 samples: {home}") == 2
    assert re.findall(r"^(center|random):$", done.stdout, re.MULTILINE) == ["center", "random"]
    measure(configured(photographs, "explainer=center", "num_samples=3", f"output_dir={home / 'center'}"))
    config = yaml.safe_load((home / "center" / "config.yaml").read_text())
    assert (config["output_dir"], config["task"]["explainers"]) == (str(home / "center"), None)


def test_a_method_may_have_options_of_its_own(photographs: Path) -> None:
    home, given = photographs / "here", "ours split=symmetric explainer.rule=epsilon"
    more = ("num_samples=3", f"output_dir={home}")
    command = typed(photographs, f'task.explainers=[edges,"{given}",ours]', *more)
    done = subprocess.run(command, cwd=photographs, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folders = [home / name for name in ("edges", "ours-split-symmetric-explainer.rule-epsilon", "ours")]
    assert sorted(path.name for path in home.iterdir()) == sorted(folder.name for folder in folders)
    alone = configured(photographs, "num_samples=3", *f"explainer={given}".split())
    assert Identity(read_config(folders[1])).hash == alone.identity().hash
    assert read_samples(folders[1])["id_score"].tolist() != read_samples(folders[2])["id_score"].tolist()


def test_methods_of_every_kind_do_not_disturb_each_other(photographs: Path) -> None:
    names = ("ours", "lrp_epsilon", "guided_backprop", "deeplift", "score_cam", "epsilon_plus_flat", "random")
    together = measure_together(configs(photographs, "together", names, "num_samples=3"))
    for folder, cfg in zip(together, configs(photographs, "alone", names, "num_samples=3"), strict=True):
        assert_same(folder, measure(cfg))


def test_goes_on_with_those_that_lack_a_batch(photographs: Path) -> None:
    whole = measure_together(configs(photographs, "whole"))
    folders = [Path(shutil.copytree(folder, photographs / "torn" / folder.name)) for folder in whole]
    # As if killed between two methods' rows of the third batch, the first method having been finished alone before.
    for folder, count in zip(folders[1:], (6, 4), strict=True):
        lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
        (folder / "curves.jsonl").write_text("".join(lines[:count]) + lines[count][:100])
        (folder / "summary.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in folders[0].rglob("*") if path.is_file()}
    assert measure_together(configs(photographs, "torn")) == folders
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for folder, other, kept in zip(folders, whole, (9, 6, 4), strict=True):
        assert_same(folder, other)
        seconds = [list(read_samples(each)["seconds"]) for each in (folder, other)]
        assert seconds[0][:kept] == seconds[1][:kept]  # what was done was not done again
        assert all(one != two for one, two in zip(seconds[0][kept:], seconds[1][kept:], strict=True))


def test_two_processes_give_what_one_gives(photographs: Path) -> None:
    for more in ("output_dir=one", "output_dir=two trainer.devices=2"):
        command = typed(photographs, f"task.explainers=[{','.join(NAMES)}]", "device=cpu", *more.split())
        done = subprocess.run(command, cwd=photographs, env=ONE_THREAD, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert_same(photographs / "two" / name, photographs / "one" / name, exact=True)


def test_a_folder_that_another_process_holds_stops_all_of_them(photographs: Path) -> None:
    held = photographs / "run" / "grad_cam"
    held.mkdir(parents=True)
    with FileLock(held / ".lock"), pytest.raises(InputError, match="grad_cam is in use"):
        measure_together(configs(photographs, "run"))
    assert [path.name for path in (photographs / "run").iterdir()] == ["grad_cam"]


def test_a_folder_of_another_configuration_stops_all_of_them(photographs: Path) -> None:
    measure(configured(photographs, "explainer=edges", f"output_dir={photographs / 'run' / 'center'}"))
    with pytest.raises(InputError, match=r"explainer\.name was 'edges', now 'center'"):
        measure_together(configs(photographs, "run"))
    assert [path.name for path in (photographs / "run").iterdir()] == ["center"]


def test_skipped_images_are_named_for_each(photographs: Path) -> None:
    (photographs / "photographs/test/jay/2.png").write_text("not a picture")
    command = typed(
        photographs, "task.explainers=[center,random]", "num_samples=12", "dataset.on_bad_image=skip", "output_dir=run"
    )
    done = subprocess.run(command, cwd=photographs, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[-1:]
    assert line.startswith("incomplete: 1 of 12 samples were skipped")
    for name in ("center", "random"):
        assert f"run/{name}/summary.json" in line
        folder = photographs / "run" / name
        measured = SampleStore(folder, Identity(read_config(folder))).read()
        assert len(measured.entries) == 11
        assert [Path(sample.path).name for sample in measured.skipped.values()] == ["2.png"]


def test_only_what_differs_in_the_explainer_is_evaluated_together(photographs: Path) -> None:
    first = configured(photographs, "explainer=center")
    with pytest.raises(InputError, match="explainer=random comes with another protocol than explainer=center"):
        measure_together([first, configured(photographs, "explainer=random", "protocol=strict")])
    with pytest.raises(InputError, match=r"names the same evaluation twice, .*run: leave one of them out"):
        measure_together([first, first])
    with pytest.raises(InputError, match=r"task\.explainers names several evaluations where one is wanted"):
        measure(configured(photographs, "task.explainers=[center,random]"))


def test_a_run_that_was_measured_before_the_key_existed_is_the_same_run(photographs: Path) -> None:
    folder = measure(configured(photographs, "explainer=center"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["task"].pop("explainers") is None
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    before = json.loads((folder / "summary.json").read_text())
    assert measure(configured(photographs, "explainer=center")) == folder
    assert json.loads((folder / "summary.json").read_text()) == before


def test_each_has_a_run_on_the_dashboard(photographs: Path) -> None:
    more = ("logger=wandb", "logger.mode=offline")
    for folder in measure_together(configs(photographs, "run", ("center", "random"), *more)):
        (run,) = offline_runs(folder)
        assert run.job_type == folder.name
        assert run.logged("progress/samples")[-1] == 9
        assert run.summary["id_score"] == pytest.approx(read_samples(folder).id_score.mean())
