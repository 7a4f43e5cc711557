"""Pictures of a run: whole or not there, whatever their classes are called."""

import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relsplit.bench.runs.maps import Maps
from relsplit.bench.runs.pictures import write_pictures
from relsplit.papers.products.figures_maps import map_grid
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
