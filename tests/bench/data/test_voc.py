"""PASCAL VOC on a generated layout: labels, regions, the official sizes, the way from an archive, and bad input."""

import hashlib
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from torchmetrics.functional.classification import binary_average_precision
from voc_layout import annotation, make_voc

from pausing import pausing, wait_until_paused
from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.dataset import ClassIndicators, EvaluationDataset
from relsplit.bench.data.transforms import EvaluationTransform
from relsplit.bench.data.voc import VOC_CLASS_NAMES, read_voc
from relsplit.bench.data.voc_download import get_voc
from relsplit.bench.models.checkpoint import read_checkpoint
from relsplit.bench.models.learned_classes import within
from relsplit.bench.models.objective import SeveralClasses
from relsplit.bench.train.training import train
from relsplit.errors import InputError

PROJECT = Path(__file__).parents[3]
TINY = [
    "model=custom",
    "model._target_=torchvision.models.ResNet",
    "+model.block._target_=hydra.utils.get_class",
    "+model.block.path=torchvision.models.resnet.BasicBlock",
    "+model.layers=[1,1,1,1]",
    "+model.num_classes=20",
]


def write(folder: Path, name: str, *objects) -> None:
    (folder / "Annotations" / f"{name}.xml").write_text(annotation(name, objects))


def first(folder: Path) -> str:
    return (folder / "ImageSets/Main/val.txt").read_text().split()[0]


def sample_of(folder: Path, name: str, **options) -> Sample:
    catalogue = read_voc(folder.parents[1], **options)
    return next(sample for sample in catalogue.samples if sample.sample_id == name)


def test_the_official_sizes(tmp_path: Path) -> None:
    make_voc(tmp_path, per_set=(5717, 5823), images=False)
    catalogue = read_voc(tmp_path)
    assert {name: len(catalogue.split(name)) for name in ("train", "val", "test")} == {
        "train": 5145, "val": 572, "test": 5823
    }  # fmt: skip
    assert catalogue.class_names == VOC_CLASS_NAMES
    assert len(catalogue.class_names) == 20
    assert catalogue.multi_label
    alone = read_voc(tmp_path, single_object_only=True)
    assert 0 < len(alone.split("test")) < 5823
    assert len(alone.split("train")) == 5145


def test_label_regions_and_all_classes_of_an_image(tmp_path: Path) -> None:
    folder = make_voc(tmp_path)
    name = first(folder)
    write(
        folder, name, ("dog", (1, 1, 10, 10), False), ("person", (11, 11, 40, 40), False),
        ("person", (1, 30, 8, 40), False), ("sofa", (1, 1, 48, 40), True)
    )  # fmt: skip
    sample = sample_of(folder, name)
    person = VOC_CLASS_NAMES.index("person")
    assert sample.label == person  # the largest that is not difficult
    assert sample.labels == (VOC_CLASS_NAMES.index("dog"), person)
    assert sample.box == (10, 10, 30, 30)
    assert sample.other_boxes == ((0, 29, 8, 11),)
    assert ClassIndicators(20)(sample).nonzero().flatten().tolist() == list(sample.labels)
    write(folder, name, ("sofa", (1, 1, 48, 40), True))
    assert sample_of(folder, name).labels == (VOC_CLASS_NAMES.index("sofa"),)
    renamed = within(read_voc(tmp_path), VOC_CLASS_NAMES[::-1])
    turned = next(each for each in renamed.samples if each.sample_id == name)
    assert turned.labels == (turned.label,) == (19 - VOC_CLASS_NAMES.index("sofa"),)


def test_regions_of_an_image_in_the_networks_coordinates(tmp_path: Path) -> None:
    folder = make_voc(tmp_path)
    name = first(folder)
    sample = sample_of(folder, name)
    assert sample.segmentation is not None
    item = EvaluationDataset([sample], EvaluationTransform(40, 40, [0.5] * 3, [0.5] * 3))[0]
    box = np.zeros((40, 48), dtype=bool)
    box[4:34, 2:26] = True
    mask = box.copy()
    mask[4] = False  # the border is of no class
    assert item.box is not None
    assert item.segmentation is not None
    np.testing.assert_array_equal(item.box, box[:, 4:44])
    np.testing.assert_array_equal(item.segmentation, mask[:, 4:44])


def test_from_an_archive_through_download_and_check(tmp_path: Path) -> None:
    source = make_voc(tmp_path / "made", "2007")
    sources = {}
    for name, part in (("2007", "trainval"), ("2007-test", "test")):
        archive = tmp_path / f"{part}.tar"
        keep = (source / "ImageSets/Main" / f"{part}.txt").read_text().split()
        with tarfile.open(archive, "w") as tar:
            for path in sorted(source.rglob("*")):
                if path.is_file() and (path.stem in keep or path.stem == part):
                    tar.add(path, f"VOCdevkit/VOC2007/{path.relative_to(source)}")
        md5 = hashlib.md5(archive.read_bytes()).hexdigest()
        sources[name] = {"url": archive.as_uri(), "filename": f"VOC{name}.tar", "md5": md5}
    broken = {**sources, "2007-test": {**sources["2007-test"], "md5": "0" * 32}}
    with pytest.raises(InputError, match="md5 sum"):
        get_voc(tmp_path / "data", "2007", sources=broken)
    assert not (tmp_path / "data/VOCdevkit").exists()
    (tmp_path / "data/VOC2007-test.tar.part").unlink()
    root = get_voc(tmp_path / "data", "2007", sources=sources)
    catalogue, expected = read_voc(root, "2007"), read_voc(tmp_path / "made", "2007")
    assert [sample.sample_id for sample in catalogue.samples] == [sample.sample_id for sample in expected.samples]
    assert all(sample.path.is_file() for sample in catalogue.samples)
    assert get_voc(tmp_path / "data", "2007", sources={}) == root  # what is there is left as it is
    for path in (tmp_path / "data").glob("*.tar"):
        path.rename(tmp_path / path.name)
    assert get_voc(tmp_path / "other", "2007", archives=tmp_path, sources=sources) == tmp_path / "other"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scripts/get_voc\.py --year 2012"):
        read_voc(tmp_path)
    folder = make_voc(tmp_path, images=False)
    name = first(folder)
    path = folder / "Annotations" / f"{name}.xml"
    whole = path.read_text()
    for text, message in (
        (annotation(name, []), "names no object"),
        (annotation(name, [("unicorn", (1, 1, 2, 2), False)]), "'unicorn' is none of VOC's 20 classes"),
        (annotation(name, [("dog", (5, 1, 2, 2), False)]), "damaged"),
        (whole[:100], "damaged"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            read_voc(tmp_path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match="no annotations"):
        read_voc(tmp_path)
    path.write_text(whole)
    (folder / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(InputError, match="no image set 'val'"):
        read_voc(tmp_path)


def test_several_classes_are_learned_by_binary_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 4, generator=generator)
    targets = (torch.rand(30, 4, generator=generator) < 0.4).float()
    targets[:, 0] = 1
    objective = SeveralClasses()
    p = logits.sigmoid()
    by_hand = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    torch.testing.assert_close(objective.loss(logits, targets), by_hand)
    found = objective.metrics(4)
    for name, metric in found.items():
        metric.update(*objective.seen(name, logits, targets))
    hits = targets[torch.arange(30), logits.argmax(1)].mean()
    torch.testing.assert_close(found["accuracy"].compute(), hits)
    each = torch.stack([binary_average_precision(p[:, k], targets[:, k].long()) for k in range(4)])
    torch.testing.assert_close(found["mean_average_precision"].compute(), each.mean())
    absent = objective.metrics(5)["mean_average_precision"]  # a class that no image shows has no precision
    wider = torch.cat([logits, logits[:, :1]], 1), torch.cat([targets, torch.zeros(30, 1)], 1)
    absent.update(*objective.seen("mean_average_precision", *wider))
    torch.testing.assert_close(absent.compute(), each.mean())


def overrides(root: Path, folder: Path, *more: str) -> list[str]:
    return [
        "task=train", "dataset=voc2012", f"dataset.root={root}", "dataset.resize=32", "dataset.image_size=32",
        "dataset.num_workers=0", *TINY, "trainer.batch_size=8", "trainer.max_epochs=4", "trainer.optimizer.lr=0.05",
        "logger=none", "device=cpu", f"output_dir={folder}", *more,
    ]  # fmt: skip


def test_fine_tuning_killed_and_resumed(tmp_path: Path) -> None:
    make_voc(tmp_path, per_set=(40, 16), num_classes=4)

    def config(folder: Path):
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return compose("config", overrides(tmp_path, folder))

    summary = train(config(tmp_path / "whole"))
    assert 0 < summary["mean_average_precision"] <= 1
    history = pd.read_csv(tmp_path / "whole/metrics.csv")
    assert {"val_mean_average_precision", "train_mean_average_precision", "val_accuracy"} <= set(history.columns)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]

    folder = tmp_path / "run"
    victim = subprocess.Popen(
        pausing("metrics.csv", 2, overrides(tmp_path, folder)),
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        cwd=tmp_path,
        start_new_session=True,
    )
    wait_until_paused(victim)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    resumed = train(config(folder))
    assert resumed["mean_average_precision"] == summary["mean_average_precision"]
    states = [read_checkpoint(tmp_path / each / "last.ckpt")["state_dict"] for each in ("whole", "run")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
