"""Maps of an evaluation's samples and of photographs of the user's own."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relsplit.bench.explain.task import explain as run
from relsplit.bench.runs.maps import read_maps
from relsplit.errors import InputError
from small_runs import CLASSES, command_line, configured


def test_the_first_samples_are_explained_once(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = configured(photographs, "task=explain", "explainer=edges", "task.pictures=3")
    maps = read_maps(run(cfg))
    labels, predicted = ([CLASSES[index] for index in classes] for classes in (maps.label, maps.predicted))
    assert list(maps.class_name) == [
        label if label == seen else f"label: {label}\npredicted, explained: {seen}"
        for label, seen in zip(labels, predicted, strict=True)
    ]
    assert len(set(labels)) > 1
    assert maps.map.shape == (3, 32, 32)
    assert "explained before" not in capsys.readouterr().out
    run(cfg)
    assert "explained before" in capsys.readouterr().out


def test_a_photograph_bears_the_predicted_name_and_may_be_replaced(photographs: Path) -> None:
    own, first, second = (photographs / name for name in ("own.png", "first.png", "second.png"))
    for path, seed in ((first, 0), (second, 1)):
        pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    cfg = configured(photographs, "task=explain", "explainer=edges", f"task.images={own}")  # one needs no brackets
    found = []
    for path in (first, second):
        shutil.copy(path, own)
        found.append(read_maps(run(cfg)))
    assert [list(maps.class_name) for maps in found] == [
        [f"predicted, explained: {CLASSES[maps.predicted[0]]}"] for maps in found
    ]
    assert not np.array_equal(found[0].map, found[1].map)
    np.testing.assert_array_equal(found[1].image[0], np.asarray(Image.open(second)))


def test_a_class_to_speak_against_may_be_named(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photographs)

    def explained(against: object) -> Path:
        more = ("task=explain", "explainer=class_evidence", "task.pictures=4", "output_dir=null")
        return run(configured(photographs, *more, "task.target=finch", f"explainer.against={against}"))

    named, numbered, other = (read_maps(explained(each)).map for each in ("Jay", 1, "wren"))
    np.testing.assert_array_equal(named, numbered)
    assert not np.allclose(named, other)
    with pytest.raises(InputError, match=r"against=jey: none of .* 3 classes .* did you mean jay"):
        explained("jey")


def test_several_methods_stand_side_by_side(photographs: Path) -> None:
    own = sorted((photographs / "photographs").rglob("*.png"))[:2]
    images, home = f"task.images=[{','.join(map(str, own))}]", photographs / "here"
    more = ("task=explain", images, 'task.explainers=[edges,"ours split=symmetric",ours]', f"output_dir={home}")
    done = subprocess.run(command_line(photographs, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (grid,) = home.glob("*.png")
    assert f"3 methods side by side: {grid}" in done.stdout
    maps = [read_maps(home / name) for name in ("edges", "ours-split-symmetric", "ours")]
    assert {tuple(each.sample_id) for each in maps} == {("0-0", "1-1")}
    assert not np.allclose(maps[1].map, maps[2].map)
    width, height = Image.open(grid).size
    assert width > 1.5 * height  # an original and three maps across, two images down
    assert len(list(home.rglob("overlays/*.png"))) == 6


def test_options_behind_a_name_are_quoted_as_typed_ones_are(photographs: Path) -> None:
    home, few = photographs / "here", ("task=explain", "task.pictures=2")
    more = (*few, 'task.explainers=["grad_cam explainer.target_layer=layer4[-1]",center]', f"output_dir={home}")
    done = subprocess.run(command_line(photographs, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone = run(configured(photographs, *few, "explainer=grad_cam", 'explainer.target_layer="layer4[-1]"'))
    together = read_maps(home / "grad_cam-explainer.target_layer-layer4-1")
    np.testing.assert_array_equal(together.map, read_maps(alone).map)


def test_an_unreadable_photograph_leaves_the_others_side_by_side(photographs: Path) -> None:
    own, broken = next((photographs / "photographs").rglob("*.png")), photographs / "broken.png"
    broken.write_text("no image")
    home = photographs / "here"
    more = (f"task.images=[{broken},{own}]", "task.explainers=[edges,center]", "dataset.on_bad_image=skip")
    command = command_line(photographs, "task=explain", *more, f"output_dir={home}")
    for _ in range(2):  # a second start finds the first one's folders
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "1 of 2 images were skipped" in done.stderr
        (grid,) = home.glob("grid-*.png")
        assert f"2 methods side by side: {grid}" in done.stdout
        assert [list(read_maps(home / name).sample_id) for name in ("edges", "center")] == [[f"1-{own.stem}"]] * 2
        grid.unlink()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["task.pictures=0"], "task.pictures must be"),
        (["task.batch_size=0"], "task.batch_size must be"),
        (["task.images=[nowhere.png]"], "no file nowhere.png"),
        (["task.images=[PHOTOGRAPH]", "explainer.target=label"], "explainer.target=label"),
        (["task.images=[BROKEN]", "dataset.on_bad_image=skip"], "none of the images can be read"),
    ],
)
def test_what_cannot_be_explained_ends_in_one_line(photographs: Path, more: list[str], words: str) -> None:
    photograph = next((photographs / "photographs").rglob("*.png"))
    broken = photographs / "broken.png"
    broken.write_text("no image")
    options = [text.replace("PHOTOGRAPH", str(photograph)).replace("BROKEN", str(broken)) for text in more]
    with pytest.raises(InputError, match=words) as caught:
        run(configured(photographs, "task=explain", "explainer=edges", *options))
    assert "\n" not in str(caught.value)
