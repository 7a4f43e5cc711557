"""Names that files, classes and folders may have, and names that would lead out of the folder of a run."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hostile_inputs import demo_network, write_image, write_photographs
from relsplit.bench.data.image_folder import read_image_folder
from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.explain.task import explain
from relsplit.bench.runs.store import read_curves, read_samples
from relsplit.errors import InputError
from small_runs import configured, with_value

STRANGE = (
    "a\nb",
    "c\u2028d",
    "e,f",
    'g"h',
    "i'j",
    "k[0]l",
    "{m}",
    "$n",
    "o p ",
    "ü→é",
    "q\\r",
    "-s",
    "%41",
    "=t",
    "#u",
)


@pytest.mark.parametrize("classes", [STRANGE[:8], STRANGE[8:]])
def test_no_sample_is_lost_whatever_files_and_classes_are_called(tmp_path: Path, classes: tuple[str, ...]) -> None:
    write_photographs(tmp_path / "photographs", classes, train=1, test=1)
    for name in classes:
        (tmp_path / "photographs/test" / name / "0.png").rename(tmp_path / "photographs/test" / name / f"{name}.png")
    torch.save(demo_network(len(classes)).state_dict(), tmp_path / "weights.pt")
    more = ("explainer=center", "metric=[]", f"num_samples={len(classes)}", "task.pictures=4", "task.batch_size=8")
    folder = evaluate(configured(tmp_path, *more))
    rows = read_samples(folder)
    assert sorted(Path(path).stem for path in rows["path"]) == sorted(classes)
    assert len(read_curves(folder)) == len(classes)
    with (folder / "samples.csv").open(newline="") as file:
        table = pd.read_csv(file, dtype={"sample_id": str})
    assert len(table) == len(classes)
    before = (folder / "samples.csv").read_bytes()
    evaluate(configured(tmp_path, *more))
    assert (folder / "samples.csv").read_bytes() == before
    again = configured(tmp_path, *more, f"output_dir={tmp_path / 'again'}")
    again = with_value(again, "dataset.manifest", str(folder / "manifest.csv"))
    assert set(read_samples(evaluate(again))["sample_id"]) == set(rows["sample_id"])
    overlays = [path for path in (folder / "pictures").rglob("*.png") if path.name != "samples.png"]
    assert len(overlays) == 4


@pytest.mark.parametrize(
    ("name", "words"), [(b"\xff\xfe.png", "no UTF-8: rename"), (b"a\rb.png", "holds a carriage return: rename")]
)
def test_a_name_that_is_no_line_of_text_is_refused_in_one_line(photographs: Path, name: bytes, words: str) -> None:
    write_image(photographs / "photographs/test/jay" / os.fsdecode(name))
    with pytest.raises(InputError, match=words) as caught:
        evaluate(configured(photographs, "explainer=center"))
    assert len(str(caught.value).encode().splitlines()) == 1
    assert not (photographs / "run").exists()


@pytest.mark.parametrize("name", ["a run[0],1", "[r'u\"n]", "{run}=*?"])
def test_an_output_folder_may_be_called_anything(photographs: Path, name: str) -> None:
    cfg = configured(photographs, "explainer=center", "metric=[]", "task.pictures=1")
    cfg = with_value(cfg, "output_dir", str(photographs / name))
    folder = evaluate(cfg)
    assert folder == photographs / name
    assert len(read_samples(folder)) == 9
    before = (folder / "samples.csv").read_bytes()
    assert evaluate(cfg) == folder
    assert (folder / "samples.csv").read_bytes() == before


@pytest.mark.parametrize("key", ["dataset.name", "model.name", "explainer.name"])
@pytest.mark.parametrize("name", ["../up", "..", ".", "/tmp/up", "a/b", "a\\b", "", "a\nb", "x" * 101])
def test_no_name_leads_out_of_the_folder_of_results(photographs: Path, key: str, name: str) -> None:
    with pytest.raises(InputError, match=f"{key} must be text that can name a folder"):
        with_value(configured(photographs, "explainer=center"), key, name)


@pytest.mark.parametrize("title", ["../../up", "/tmp/up", "a/b\nc"])
def test_labels_and_titles_name_no_files(photographs: Path, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photographs)
    monkeypatch.setenv("WANDB_MODE", "offline")
    cfg = configured(photographs, "explainer=center", "metric=[]", "task.pictures=1")
    cfg = with_value(cfg, "logger", {"project": title, "mode": "offline", "name": title, "group": title})
    before = {path for path in photographs.parent.rglob("*") if photographs / "run" not in path.parents}
    evaluate(cfg)
    after = {path for path in photographs.parent.rglob("*") if photographs / "run" not in path.parents}
    assert after - before == {photographs / "run"}


def test_a_photographs_name_stays_in_the_folder_of_pictures(photographs: Path) -> None:
    for index, name in enumerate(("..png", "...png", "a\nb.png", "x [1].png")):
        pixels = np.zeros((40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photographs / name, format="png")
        cfg = configured(photographs, "task=explain", "explainer=edges", f"output_dir={photographs / f'own{index}'}")
        folder = explain(with_value(cfg, "task.images", [str(photographs / name)]))
        assert len(list((folder / "pictures").rglob("*.png"))) >= 2
    assert not [path for path in photographs.glob("*") if path.name.startswith("0-")]


def test_a_newline_in_a_class_is_kept_in_the_catalogue(tmp_path: Path) -> None:
    root = write_photographs(tmp_path / "photographs", ("a\nb", "c"), train=1, test=1)
    assert read_image_folder(root, num_val=0).class_names == ("a\nb", "c")
