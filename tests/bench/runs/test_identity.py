"""What names a run's folder."""

from pathlib import Path

import pytest
import torch

from relsplit.bench.configuration.configuration import resolved
from relsplit.bench.runs import identity
from relsplit.bench.runs.identity import config_hash, identified, without_identity
from small_runs import configured


def test_weights_and_manifests_count_by_what_they_hold(photographs: Path) -> None:
    weights, manifest = photographs / "start.pt", photographs / "chosen.csv"

    def name() -> str:
        options = [f"model.weights={weights}", f"dataset.manifest={manifest}"]
        return config_hash(identified(resolved(configured(photographs, *options))))

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
    cfg = configured(photographs)
    marked = identified(resolved(cfg))
    assert len(marked["model"]["checkpoint_sha256"]) == 64
    assert marked["model"]["weights_sha256"] is None
    assert without_identity(marked) == resolved(cfg)


def test_weights_of_an_explainer_count_by_what_they_hold(photographs: Path) -> None:
    weights = photographs / "explainer.pt"
    names = []
    for content in (b"a", b"a", b"b"):
        weights.write_bytes(content)
        names.append(config_hash(identified(resolved(configured(photographs, f"+explainer.weights={weights}")))))
    moved = weights.rename(photographs / "moved.pt")
    names.append(config_hash(identified(resolved(configured(photographs, f"+explainer.weights={moved}")))))
    assert names[0] == names[1] != names[2]
    assert names[2] == names[3]


def test_a_setting_that_is_off_leaves_a_run_its_name(photographs: Path) -> None:
    off = identified(resolved(configured(photographs)))
    before = {**off, "task": {key: value for key, value in off["task"].items() if key != "curve_tolerance"}}
    on = identified(resolved(configured(photographs, "task.curve_tolerance=0.02")))
    assert before["task"] != off["task"]
    assert config_hash(before) == config_hash(off) != config_hash(on)


@pytest.mark.parametrize("name", ["grad_cam", "score_cam"])
def test_a_map_that_is_not_smoothed_leaves_a_run_its_name(photographs: Path, name: str) -> None:
    off = identified(resolved(configured(photographs, f"explainer={name}")))
    before = {**off, "explainer": {key: value for key, value in off["explainer"].items() if key != "smoothing"}}
    on = identified(resolved(configured(photographs, f"explainer={name}", "explainer.smoothing=0.07")))
    assert before["explainer"] != off["explainer"]
    assert config_hash(before) == config_hash(off) != config_hash(on)


def test_numbers_belong_to_a_version(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolved(configured(photographs))
    before = config_hash(identified(config))
    monkeypatch.setattr(identity, "RESULTS_VERSION", identity.RESULTS_VERSION + 1)
    assert config_hash(identified(config)) != before
