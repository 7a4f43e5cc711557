"""ILSVRC2012 val in each layout in which people have it."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from torchvision.datasets import imagenet as peer
from torchvision.datasets.utils import calculate_md5

from relsplit.bench.data import imagenet
from relsplit.bench.data.imagenet import DEVKIT_ARCHIVE, VAL_ARCHIVE, read_imagenet
from relsplit.bench.data.imagenet_classes import IMAGENET_CLASS_NAMES, IMAGENET_WNIDS
from relsplit.errors import InputError


def test_the_classes_are_the_thousand_in_order() -> None:
    assert len(set(IMAGENET_WNIDS)) == len(IMAGENET_CLASS_NAMES) == 1000
    assert list(IMAGENET_WNIDS) == sorted(IMAGENET_WNIDS)
    known = {0: "n01440764", 15: "n01558993", 281: "n02123045", 388: "n02510455", 701: "n03888257", 999: "n15075141"}
    assert {label: IMAGENET_WNIDS[label] for label in known} == known
    assert IMAGENET_CLASS_NAMES[388] == "giant panda"


def test_flat_files_with_a_wnid_in_their_names(tmp_path: Path) -> None:
    for name in ("n02123045_tabby.JPEG", "ILSVRC2012_val_00000293_n15075141.JPEG", "n01440764_10026.jpg", "index.txt"):
        (tmp_path / name).touch()
    catalogue = read_imagenet(tmp_path)
    assert {sample.sample_id: sample.label for sample in catalogue.samples} == {
        "ILSVRC2012_val_00000293_n15075141": 999,
        "n01440764_10026": 0,
        "n02123045_tabby": 281,
    }
    assert {sample.split for sample in catalogue.samples} == {"test"}
    (tmp_path / "holiday.JPEG").touch()
    with pytest.raises(InputError, match=r"holiday\.JPEG has no wnid"):
        read_imagenet(tmp_path)


def write_ground_truth(root: Path, wnids: list[str]) -> None:
    """The file that torchvision makes of the development kit."""
    torch.save(({wnid: (wnid,) for wnid in wnids}, wnids), root / peer.META_FILE)


def test_flat_files_with_ground_truth(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for number in (3, 1, 2):
        (tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG").touch()
    with pytest.raises(InputError, match=DEVKIT_ARCHIVE):
        read_imagenet(tmp_path)
    write_ground_truth(tmp_path, ["n15075141", "n01440764", "n02123045"])
    assert [sample.label for sample in read_imagenet(tmp_path).samples] == [999, 0, 281]
    (tmp_path / "val" / "ILSVRC2012_val_00000004.JPEG").touch()
    with pytest.raises(InputError, match="image 4 is not among the 3"):
        read_imagenet(tmp_path)


def test_wnid_folders_and_the_cached_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = tmp_path / "val", tmp_path / "cache"
    for wnid in ("n02123045", "n01440764"):
        (root / wnid).mkdir(parents=True)
        for k in range(3):
            (root / wnid / f"{wnid}_{k}.JPEG").touch()
    first = read_imagenet(root, cache)
    assert [sample.label for sample in first.samples] == [0, 0, 0, 281, 281, 281]
    listings = []
    list_tree = imagenet._labelled_files
    monkeypatch.setattr(imagenet, "_labelled_files", lambda *args: listings.append(args) or list_tree(*args))
    assert read_imagenet(root, cache) == first
    assert not listings
    (root / "n01440764" / "n01440764_9.JPEG").touch()
    assert len(read_imagenet(root, cache).samples) == 7
    assert len(listings) == 1
    next(cache.iterdir()).write_text("{ damaged")
    assert len(read_imagenet(root, cache).samples) == 7
    (root / "n00000000").mkdir()
    (root / "n00000000" / "a.JPEG").touch()
    with pytest.raises(InputError, match="n00000000 is none of the 1,000"):
        read_imagenet(root, cache)


def test_fifty_thousand_images_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "val"
    for label, wnid in enumerate(IMAGENET_WNIDS):
        (root / wnid).mkdir(parents=True)
        for k in range(50):
            (root / wnid / f"ILSVRC2012_val_{50 * label + k + 1:08d}.JPEG").touch()
    assert len(read_imagenet(root, tmp_path / "cache").samples) == 50_000
    listed, usual = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder=".": listed.append(Path(folder)) or usual(folder))
    monkeypatch.setattr(os, "listdir", None)
    catalogue = read_imagenet(root, tmp_path / "cache")
    assert listed == [root]  # and none of its thousand folders
    assert len(catalogue.samples) == 50_000
    assert catalogue.samples[-1].label == 999


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both archives in the official format, with three classes and four images; torchvision is told their sums."""
    synsets = np.array(
        [(1, "n02123045", "tabby, cat", "x", 0), (2, "n01440764", "tench", "x", 0), (3, "n15075141", "tissue", "x", 0),
         (4, "n00001740", "entity", "x", 2)],
        dtype=[("a", object), ("b", object), ("c", object), ("d", object), ("e", object)],
    )  # fmt: skip
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": synsets})
    with tarfile.open(tmp_path / DEVKIT_ARCHIVE, "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        truth = b"3\n1\n2\n3\n"
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth)
    with tarfile.open(tmp_path / VAL_ARCHIVE, "w") as tar:
        for number in range(1, 5):
            add(tar, f"ILSVRC2012_val_{number:08d}.JPEG", b"image")
    for key, name in (("val", VAL_ARCHIVE), ("devkit", DEVKIT_ARCHIVE)):
        monkeypatch.setitem(peer.ARCHIVE_META, key, (name, calculate_md5(tmp_path / name)))
    return tmp_path


def test_the_official_archives_are_unpacked_by_torchvision(archives: Path) -> None:
    catalogue = read_imagenet(archives)
    assert {sample.sample_id[-1]: sample.label for sample in catalogue.samples} == {
        "1": 999,
        "2": 281,
        "3": 0,
        "4": 999,
    }
    assert sorted(path.name for path in archives.iterdir()) == sorted(
        [DEVKIT_ARCHIVE, VAL_ARCHIVE, peer.META_FILE, "val"]
    )


def test_a_damaged_archive_leaves_nothing_behind(archives: Path) -> None:
    with (archives / VAL_ARCHIVE).open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=f"cannot unpack .*{VAL_ARCHIVE}"):
        read_imagenet(archives)
    assert not (archives / "val").exists()
    (archives / DEVKIT_ARCHIVE).unlink()
    (archives / peer.META_FILE).unlink(missing_ok=True)
    with pytest.raises(InputError, match=f"has no {DEVKIT_ARCHIVE}"):
        read_imagenet(archives)


def test_nothing_usable_says_how_to_get_it(tmp_path: Path) -> None:
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=r"image-net\.org"):
            read_imagenet(root)
