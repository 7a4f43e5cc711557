"""What changed between two starts is said, and no run mixes numbers of two kinds; constant maps are flagged."""

import json
from pathlib import Path

import pytest
from PIL import Image

from hostile_inputs import write_image
from relsplit.bench.evaluate.task import measure, run
from relsplit.bench.runs.store import read_samples
from relsplit.errors import InputError
from small_runs import configured

OPTIONS = ("explainer=edges", "metric=[]", "task.pictures=1", "num_samples=3")


def test_an_image_that_changed_is_named_and_measured_anew_or_kept(photographs: Path) -> None:
    folder = measure(configured(photographs, *OPTIONS))
    before = read_samples(folder).set_index("sample_id")
    changed = photographs / "photographs" / before["path"].iloc[0]
    changed = changed if changed.exists() else Path(before["path"].iloc[0])
    write_image(changed, seed=99)
    with pytest.raises(
        InputError, match=f"the image {changed} has changed.*task.on_change=anew.*task.on_change=accept"
    ):
        measure(configured(photographs, *OPTIONS))
    measure(configured(photographs, *OPTIONS, "task.on_change=accept"))
    assert read_samples(folder).set_index("sample_id")["insertion"].equals(before["insertion"])
    measure(configured(photographs, *OPTIONS, "task.on_change=anew"))
    after = read_samples(folder).set_index("sample_id")
    assert list(after.index) == list(before.index)
    assert after["insertion"].iloc[0] != before["insertion"].iloc[0]
    assert after["insertion"].iloc[1:].equals(before["insertion"].iloc[1:])
    measure(configured(photographs, *OPTIONS))  # the new image is now the known one


def test_code_that_changed_is_said_where_samples_are_left(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import relsplit.bench.evaluate.resumption as resumption

    folder = measure(configured(photographs, *OPTIONS))
    now = resumption.made_with
    monkeypatch.setattr(resumption, "made_with", lambda targets: {**now(targets), "package": "another"})
    measure(configured(photographs, *OPTIONS))  # finished: it keeps its numbers
    lines = (folder / "curves.jsonl").read_text().splitlines(keepends=True)
    (folder / "curves.jsonl").write_text("".join(lines[:2]))
    with pytest.raises(InputError, match=r"holds 2 samples .* \(relsplit's code has changed\)"):
        measure(configured(photographs, *OPTIONS))


def test_constant_maps_are_flagged_counted_and_said(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in photographs.rglob("*.png"):
        Image.new("RGB", Image.open(path).size, "gray").save(path)  # where no edges are
    more = ("explainer=edges", "metric=[]", "num_samples=3", "task.pictures=1")
    run(configured(photographs, *more))
    assert read_samples(photographs / "run")["flat_map"].tolist() == [1, 1, 1]
    assert json.loads((photographs / "run/summary.json").read_text())["flat_maps"] == 3
    assert "warning: 3 maps are constant: their scores mean nothing" in capsys.readouterr().out
