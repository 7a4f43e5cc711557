"""Pictures of a run: whole or not there, whatever their classes are called."""

import resource
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from relsplit.bench.explain.sample_maps import in_words
from relsplit.bench.runs.map_grid import map_grid
from relsplit.bench.runs.maps import Maps
from relsplit.bench.runs.pictures import caption, colours_of, sample_grid, write_pictures
from relsplit.bench.runs.records import SampleCurves
from relsplit.papers.products.product import save_figure


def maps(*names: str) -> Maps:
    count = len(names)
    rng = np.random.default_rng(0)
    return Maps(
        sample_id=np.array([f"s{index}" for index in range(count)]),
        class_name=np.array(names),
        label=np.zeros(count, dtype=int),
        predicted=np.zeros(count, dtype=int),
        probability=np.full(count, 0.5),
        image=rng.integers(0, 255, (count, 64, 64, 3), dtype=np.uint8),
        map=rng.random((count, 64, 64)),
        region=np.zeros((count, 64, 64), dtype=bool),
    )


@pytest.mark.parametrize("name", [r"$\frac$", "$a$ or $b$", "100$", "two\nlines", "_private", "鳥"])
def test_a_class_may_be_called_as_it_likes(tmp_path: Path, name: str) -> None:
    whole = write_pictures(tmp_path, maps(name), title=name)
    assert min(Image.open(whole).size) > 100
    save_figure(map_grid([(name, maps(name))]), tmp_path, "figure")
    assert (tmp_path / "figure.pdf").read_bytes().endswith(b"%%EOF\n")


def test_a_caption_names_every_class_that_plays_a_part() -> None:
    same = in_words({"label": "jay", "predicted": "jay", "explained": "jay", "scored": "jay"})
    assert caption(same, 0.5) == "jay\np = 0.500"
    differing = in_words({"label": "airplane", "predicted": "bird", "explained": "bird", "scored": "airplane"})
    assert caption(differing, 0.458) == (
        "label, scored: airplane\npredicted, explained: bird\np of the explained class = 0.458"
    )
    assert caption("jay", 6.1e-10) == "jay\np = 6.1e-10"
    assert in_words({"predicted": "jay", "explained": "jay"}) == "predicted, explained: jay"
    assert in_words({"predicted": "jay", "explained": "two\nlines"}) == "predicted: jay\nexplained: two lines"


def test_a_signed_map_has_zero_in_the_middle() -> None:
    signed = colours_of(np.array([[-1.0, 4.0]]))
    assert (signed["vmin"], signed["vmax"]) == (-4, 4)
    middle = matplotlib.colormaps[signed["cmap"]](0.5)
    assert min(middle[:3]) > 0.95
    assert "vmin" not in colours_of(np.array([[0.0, 4.0]]))


def test_curves_of_a_sample_start_at_nothing() -> None:
    curves = [SampleCurves("s0", "published", [0, 0.5, 1], [0.9, None, 0.9], [0.1, 0.1, 0.1])]
    axis = sample_grid(maps("jay"), curves, "").axes[3]
    insertion, deletion = (np.asarray(line.get_xydata()).tolist() for line in axis.lines)
    assert insertion == [[0, 0.1], [0, 0.9], [1, 0.9]]
    assert deletion == [[0, 0.9], [0, 0.1], [0.5, 0.1], [1, 0.1]]


@pytest.mark.parametrize("room", [0, 1000, 20_000])
def test_a_picture_for_which_there_is_no_room_leaves_the_one_before(tmp_path: Path, room: int) -> None:
    write_pictures(tmp_path, maps("finch", "jay"))
    figure = map_grid([("Ours", maps("finch", "jay"))])
    save_figure(figure, tmp_path, "figure")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert any(len(content) > room for content in before.values())
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_pictures(tmp_path, maps("wren", "jay", "finch"))
        with pytest.raises(OSError, match="File too large"):
            save_figure(figure, tmp_path, "figure")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert after.keys() >= before.keys()
    assert all(Image.open(path).load() for path in after if path.suffix == ".png")
    assert after[tmp_path / "pictures/samples.png"] == before[tmp_path / "pictures/samples.png"]
    assert after[tmp_path / "figure.pdf"] == before[tmp_path / "figure.pdf"]
    assert not [path for path in after if ".tmp" in path.name]
