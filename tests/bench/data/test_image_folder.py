"""A user's own photographs."""

import shutil
from pathlib import Path

import pytest

from relsplit.bench.data.image_folder import read_image_folder
from relsplit.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, names in {"train": ("1.jpg", "2.JPG", "3.webp", "4.Png", "5.bmp"), "test": ("1.jpeg", "2.tif")}.items():
        for species in ("wren", "Robin", "auk"):
            folder = tmp_path / "photos" / split / species
            folder.mkdir(parents=True)
            for name in (*names, "notes.txt", ".hidden.jpg"):
                (folder / name).write_bytes(b"x")
    return tmp_path / "photos"


def test_classes_are_the_sorted_folders_and_endings_do_not_care_for_case(root: Path) -> None:
    catalogue = read_image_folder(root, num_val=3, val_style="stratified")
    assert catalogue.class_names == ("Robin", "auk", "wren")
    assert [len(catalogue.split(name)) for name in ("train", "val", "test")] == [12, 3, 6]
    sample = catalogue.split("test")[0]
    assert (sample.sample_id, sample.label) == ("test-Robin-1.jpeg", 0)
    assert catalogue.relative_path(sample) == "test/Robin/1.jpeg"
    assert sample.box is None


def test_a_validation_folder_is_used_where_there_is_one(root: Path) -> None:
    shutil.copytree(root / "test", root / "val")
    catalogue = read_image_folder(root, num_val=3)
    assert [len(catalogue.split(name)) for name in ("train", "val", "test")] == [15, 6, 6]


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.root=FOLDER"):
        read_image_folder(None)
    with pytest.raises(InputError, match="there is no folder"):
        read_image_folder(root / "nowhere")
    with pytest.raises(InputError, match="has no folder test/"):
        read_image_folder(root / "train" / "auk")
    for path in (root / "test" / "auk").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"test.auk has no images"):
        read_image_folder(root)
    (root / "test" / "auk").rmdir()
    with pytest.raises(InputError, match=r"class auk is in .*train but not in .*test"):
        read_image_folder(root)
    (root / "test" / "auk").mkdir()
    (root / "test" / "kite").mkdir()
    with pytest.raises(InputError, match=r"class kite is in .*test but not in .*train"):
        read_image_folder(root)


def test_photographs_that_nobody_trains_on_need_no_train_folder(root: Path) -> None:
    alone = read_image_folder(root / "train")
    assert (alone.class_names, len(alone.split("test"))) == (("Robin", "auk", "wren"), len(alone.samples))
    shutil.rmtree(root / "train")
    catalogue = read_image_folder(root)
    assert {sample.split for sample in catalogue.samples} == {"test"}


def test_a_train_folder_without_classes_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(InputError, match="no class folders"):
        read_image_folder(tmp_path)
