"""The CUB-200-2011 reader on complete metadata in the official format, and on damaged copies of them."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relsplit.bench.data.cub import read_cub
from relsplit.bench.data.dataset import EvaluationDataset
from relsplit.bench.data.manifest import read_manifest, write_manifest
from relsplit.bench.data.sampling import class_balanced
from relsplit.bench.data.transforms import EvaluationTransform
from relsplit.errors import InputError

NUM_IMAGES, NUM_TRAIN, NUM_CLASSES, NUM_PARTS = 11_788, 5_994, 200, 15


@pytest.fixture(scope="session")
def full_cub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metadata of the real data set's size: 59 or 58 images a class, 30 or 29 of them for training; no images."""
    root = tmp_path_factory.mktemp("cub") / "CUB_200_2011"
    (root / "parts").mkdir(parents=True)
    rng = random.Random(0)
    names = [f"{label:03d}.Class_{label}" for label in range(1, NUM_CLASSES + 1)]
    images, labels, splits, boxes, parts = [], [], [], [], []
    image_id = train_left = 0
    for label, name in enumerate(names, start=1):
        count = 59 if label <= NUM_IMAGES - 58 * NUM_CLASSES else 58
        train_left = 30 if label <= NUM_TRAIN - 29 * NUM_CLASSES else 29
        in_train = [1] * train_left + [0] * (count - train_left)
        rng.shuffle(in_train)
        for number, flag in enumerate(in_train, start=1):
            image_id += 1
            images.append(f"{image_id} {name}/{name[4:]}_{number:04d}_{700_000 + image_id}.jpg")
            labels.append(f"{image_id} {label}")
            splits.append(f"{image_id} {flag}")
            boxes.append(f"{image_id} 60.0 27.0 325.0 304.0")
            parts += [f"{image_id} {part} 100.0 50.5 {part % 2}" for part in range(1, NUM_PARTS + 1)]
    tables = {
        "images.txt": images,
        "image_class_labels.txt": labels,
        "train_test_split.txt": splits,
        "bounding_boxes.txt": boxes,
        "classes.txt": [f"{place} {name}" for place, name in enumerate(names, start=1)],
        "parts/parts.txt": [f"{part} left part {part}" for part in range(1, NUM_PARTS + 1)],
        "parts/part_locs.txt": parts,
    }
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("style", ["random", "stratified", "tail"])
def test_the_splits_have_the_published_sizes(full_cub: Path, style: str) -> None:
    catalogue = read_cub(full_cub, num_val=600, val_style=style)  # type: ignore[arg-type]
    assert (len(catalogue.samples), catalogue.num_classes) == (NUM_IMAGES, NUM_CLASSES)
    sizes = [len(catalogue.split(name)) for name in ("train", "val", "test")]
    assert sizes == [5_394, 600, 5_794]
    per_class = Counter(sample.label for sample in catalogue.split("val"))
    assert (set(per_class.values()) == {3}) == (style != "random")
    if style == "tail":
        last = {sample.label: sample for sample in catalogue.samples if sample.split != "test"}
        assert all(sample.split == "val" for sample in last.values())


def test_the_default_validation_split_is_the_released_tenth_and_seeded(full_cub: Path) -> None:
    once, again, other = (read_cub(full_cub, val_seed=seed).split("val") for seed in (42, 42, 43))
    assert len(once) == 600
    assert once == again != other


def test_metadata_arrive_in_the_samples(full_cub: Path) -> None:
    catalogue = read_cub(full_cub.parent)  # the folder above will do
    first = catalogue.samples[0]
    assert first.path == full_cub / "images" / "001.Class_1" / "Class_1_0001_700001.jpg"
    assert (first.label, catalogue.class_names[0], first.box) == (0, "Class_1", (60.0, 27.0, 325.0, 304.0))
    assert catalogue.part_names[14] == "left part 15"
    assert first.parts[14] == (14, 100.0, 50.5, True)
    assert first.segmentation is None
    assert catalogue.samples[-1].label == 199


def test_a_thousand_samples_are_shared_through_a_manifest(full_cub: Path, tmp_path: Path) -> None:
    catalogue = read_cub(full_cub)
    test = catalogue.split("test")
    chosen = class_balanced(test, 1000)
    assert set(Counter(sample.label for sample in chosen).values()) == {5}
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, chosen, catalogue)
    assert read_manifest(manifest, test, catalogue) == chosen
    relative = catalogue.relative_path(chosen[0])
    assert manifest.read_text().splitlines()[1] == (
        f"{chosen[0].sample_id},{relative},{chosen[0].label},{catalogue.class_names[chosen[0].label]}"
    )


def test_images_on_demand_go_through_the_evaluation_geometry(full_cub: Path, tmp_path: Path) -> None:
    sample = read_cub(full_cub).samples[0]
    sample.path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (500, 375), (200, 100, 0)).save(sample.path)
    transform = EvaluationTransform(256, 224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    item = EvaluationDataset([sample], transform)[0]
    assert item.image is not None
    assert item.box is not None
    assert item.image.shape == (3, 224, 224)
    # 500 x 375 becomes 341 x 256; the crop starts 58 or 59 pixels from the left and 16 from the top.
    columns = item.box.any(0).nonzero()
    assert int(columns.min()) == 0
    assert abs(int(columns.max()) - (385 * 341 / 500 - 58.5 - 1)) <= 1
    rows = item.box.any(1).nonzero()
    assert abs(int(rows.min()) - (27 * 256 / 375 - 16)) <= 1
    assert abs(int(rows.max()) - (331 * 256 / 375 - 17)) <= 1


def write_small(root: Path) -> Path:
    """Two classes of two images each, with one part."""
    (root / "parts").mkdir(parents=True)
    for name, lines in {
        "images.txt": ["1 001.A/a_1.jpg", "2 001.A/a_2.jpg", "3 002.B/b_1.jpg", "4 002.B/b_2.jpg"],
        "image_class_labels.txt": ["1 1", "2 1", "3 2", "4 2"],
        "train_test_split.txt": ["1 1", "2 0", "3 1", "4 0"],
        "bounding_boxes.txt": [f"{i} 0.0 0.0 4.0 4.0" for i in range(1, 5)],
        "classes.txt": ["1 001.A", "2 002.B"],
        "parts/parts.txt": ["1 beak"],
        "parts/part_locs.txt": [f"{i} 1 2.0 2.0 1" for i in range(1, 5)],
    }.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("images.txt", "1 001.A/a_1.jpg\n2 001.A/a", "images.txt, line 2"),
        ("images.txt", "1 001.A/a_1.jpg\n2", "images.txt, line 2"),
        ("images.txt", "1 ../../etc/a.jpg\n", "images.txt, line 1"),
        ("images.txt", "", "images.txt, line 1"),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n", "image_class_labels.txt, line 3"),
        ("image_class_labels.txt", "1 1\n2 1\n3 3\n4 2\n", "image_class_labels.txt, line 3"),
        ("image_class_labels.txt", "1 1\n2 0\n3 2\n4 2\n", "image_class_labels.txt, line 2"),
        ("train_test_split.txt", "1 1\n3 0\n2 1\n4 0\n", "train_test_split.txt, line 2"),
        ("train_test_split.txt", "1 1\n2 2\n3 1\n4 0\n", "train_test_split.txt, line 2"),
        ("train_test_split.txt", "1 1\n2 0\n3 1\n4 0\n5 1\n", "train_test_split.txt, line 5"),
        ("bounding_boxes.txt", "1 0.0 0.0 4.0 4.0\n2 0.0 0.0", "bounding_boxes.txt, line 2"),
        ("bounding_boxes.txt", "1 0.0 0.0 4.0 x\n", "bounding_boxes.txt, line 1"),
        ("classes.txt", "1 001.A\n3 003.C\n", "classes.txt, line 2"),
        ("parts/part_locs.txt", "1 1 2.0 2.0 1\n2 1 2.0", "part_locs.txt, line 2"),
        ("parts/part_locs.txt", "1 1 2.0 2.0 1\n2 1 2.0 2.0 1\n", "part_locs.txt, line 2"),
    ],
)
def test_damage_is_named_by_file_and_line(tmp_path: Path, name: str, content: str, where: str) -> None:
    root = write_small(tmp_path / "cub")
    assert len(read_cub(root, num_val=0).samples) == 4
    (root / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_cub(root, num_val=0)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_missing_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scripts/get_cub\.py"):
        read_cub(tmp_path / "nowhere")
    root = write_small(tmp_path / "cub")
    (root / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"classes\.txt is missing"):
        read_cub(root)


def test_segmentations_are_found_beside_the_folder(tmp_path: Path) -> None:
    root = write_small(tmp_path / "cub")
    (tmp_path / "segmentations" / "001.A").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "segmentations" / "001.A" / "a_1.png")
    sample = read_cub(root, num_val=0).samples[0]
    assert sample.segmentation == tmp_path / "segmentations" / "001.A" / "a_1.png"
