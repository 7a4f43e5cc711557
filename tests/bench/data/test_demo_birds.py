"""The demo data: exactly CUB's layout, the same bytes from the same seed, and no way to cheat."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.demo import demo_catalogue, generate_demo
from relsplit.bench.data.demo_bird import PART_NAMES, SPECIES
from relsplit.bench.data.image_reading import read_image, read_mask
from relsplit.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "birds"


@pytest.fixture(scope="module")
def demo(root: Path) -> Catalogue:
    return demo_catalogue(root, seed=1, train_per_species=24, test_per_species=12, num_val=24)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate_demo(tmp_path / name, seed, train_per_species=2, test_per_species=1)
    once, again, other = (digests(tmp_path / name) for name in "abc")
    assert once == again
    assert sum(once[name] == other.get(name) for name in once if name.endswith(".jpg")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_any_two_species_differ_in_three_parts() -> None:
    parts = ("bill", "crown", "wing", "breast", "tail")
    for one, other in itertools.combinations(SPECIES, 2):
        assert sum(getattr(one, part) != getattr(other, part) for part in parts) >= 3
    for part in parts:  # every look of a part is shared by several species, so none gives a species away
        looks = [getattr(species, part) for species in SPECIES]
        assert all(looks.count(look) >= 3 for look in looks)


def test_the_tree_is_laid_out_like_cub(root: Path, demo: Catalogue) -> None:
    top = {path.name for path in root.iterdir()}
    assert top >= {
        *("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt", "bounding_boxes.txt"),
        *("parts", "images", "segmentations"),
    }
    first = (root / "images.txt").read_text().splitlines()[0]
    assert first == f"1 001.{SPECIES[0].name}/{SPECIES[0].name}_0001_1.jpg"
    assert len((root / "parts" / "part_locs.txt").read_text().splitlines()) == 36 * 12 * 15
    assert demo.part_names == PART_NAMES
    assert [len(demo.split(name)) for name in ("train", "val", "test")] == [12 * 22, 24, 12 * 12]


def test_masks_boxes_and_parts_belong_together(demo: Catalogue) -> None:
    visible = beyond = 0
    for sample in demo.samples[::7]:
        assert sample.segmentation is not None
        assert sample.box is not None
        mask = read_mask(sample.segmentation)
        assert read_image(sample.path).size == mask.shape[::-1] == (64, 64)
        assert 0.08 < mask.mean() < 0.5
        rows, columns = np.nonzero(mask)
        tight = (columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min())
        assert sample.box == tight
        for part in sample.parts:
            if part.visible:
                visible += 1
                y, x = min(round(part.y), 63), min(round(part.x), 63)
                beyond += not mask[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].any()
        eyes = [part.visible for part in sample.parts if demo.part_names[part.part].endswith("eye")]
        assert eyes.count(True) <= 1  # the far eye is never seen
    assert visible > 500
    assert beyond / visible < 0.02


def accuracy(train: NDArray[np.float64], labels: NDArray[np.int64], test: NDArray[np.float64], truth: object) -> float:
    """Ridge regression onto the classes, on standardised features."""
    mean, std = train.mean(0), train.std(0) + 1e-9
    a, b = (train - mean) / std, (test - mean) / std
    weights = np.linalg.solve(a.T @ a + 30.0 * np.eye(a.shape[1]), a.T @ np.eye(12)[labels])
    return float(np.mean((b @ weights).argmax(1) == truth))


def test_neither_the_background_nor_the_overall_colour_gives_the_species_away(demo: Catalogue) -> None:
    def features(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        background, overall, labels = [], [], []
        for sample in demo.samples:
            if (sample.split == "test") != (name == "test"):
                continue
            assert sample.segmentation is not None
            pixels = np.asarray(read_image(sample.path), dtype=np.float64) / 255
            hidden = read_mask(sample.segmentation)[..., None]
            # The bird is painted over with the mean of its surroundings; only what is not bird counts.
            mean = (pixels * ~hidden).sum((0, 1)) / (~hidden).sum()
            filled = np.where(hidden, mean, pixels)
            around = np.where(hidden, 0.0, (pixels - mean) ** 2).sum((0, 1)) / (~hidden).sum()
            grid = filled.reshape(4, 16, 4, 16, 3).mean((1, 3)).ravel()
            background.append(np.concatenate([grid, around]))
            overall.append(np.concatenate([pixels.mean((0, 1)), pixels.std((0, 1))]))
            labels.append(sample.label)
        return np.array(background), np.array(overall), np.array(labels)

    background, overall, labels = features("train")
    test_background, test_overall, truth = features("test")
    # Chance is 1/12 = 0.083; 144 test pictures put three standard deviations at 0.152.
    assert accuracy(background, labels, test_background, truth) < 0.16
    assert accuracy(overall, labels, test_overall, truth) < 0.25


def test_data_that_are_there_are_used_and_others_are_left_alone(root: Path, demo: Catalogue, tmp_path: Path) -> None:
    before = (root / "images.txt").stat().st_mtime_ns
    generate_demo(root, 1, 24, 12)
    assert (root / "images.txt").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other parameters"):
        generate_demo(root, 2, 24, 12)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        generate_demo(tmp_path / "mine", 1, 1, 1)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        generate_demo(tmp_path / "file", 1, 1, 1)
    with pytest.raises(InputError, match="cannot be written"):
        generate_demo(tmp_path / "file" / "below", 1, 1, 1)
    with pytest.raises(InputError, match="at least 1"):
        generate_demo(tmp_path / "new", 1, 0, 1)
