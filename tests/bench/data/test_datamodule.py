"""Training batches: the same whatever the number of workers, the number of processes, or an interruption."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.datamodule import ImageDataModule
from relsplit.bench.data.epoch_sampler import EpochSampler
from relsplit.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    samples = []
    for k in range(22):
        path = root / f"{k}.png"
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(str(k), path, k % 2, "train" if k < 14 else "val" if k < 18 else "test"))
    return Catalogue(("A", "B"), tuple(samples), root)


def module(catalogue: Catalogue, **options: Any) -> ImageDataModule:
    return ImageDataModule(catalogue, 16, 16, MEAN, STD, batch_size=4, **{"seed": 3, **options})


def batches(loader: Any, epoch: int) -> list[tuple[Tensor, Tensor]]:
    loader.sampler.set_epoch(epoch)
    return list(loader)


def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, other, strict=True)
    )


def test_batches_do_not_depend_on_workers_or_history(catalogue: Catalogue) -> None:
    plain, workers = module(catalogue), module(catalogue, num_workers=2)
    plain.setup("fit")
    workers.setup("fit")
    loader, parallel = plain.train_dataloader(), workers.train_dataloader()
    third = batches(loader, 2)
    batches(loader, 0)
    assert equal(batches(loader, 2), third)
    assert equal(batches(parallel, 2), third)  # the workers live on between epochs
    assert equal(batches(parallel, 0), batches(loader, 0))
    assert not equal(batches(loader, 1), third)
    assert sorted(label for _, labels in third for label in labels.tolist()) == [0] * 7 + [1] * 7


def test_validation_augmentation_is_a_switch(catalogue: Catalogue) -> None:
    plain, released = module(catalogue), module(catalogue, val_augmentation=True)
    for one in (plain, released):
        one.setup("fit")
    assert equal(batches(plain.val_dataloader(), 0), batches(plain.val_dataloader(), 1))
    assert not equal(batches(released.val_dataloader(), 0), batches(released.val_dataloader(), 1))
    plain.setup("test")
    (images, labels), *_ = list(plain.test_dataloader())
    assert images.shape == (4, 3, 16, 16)
    assert labels.tolist() == [0, 1, 0, 1]


def test_processes_share_the_samples_out() -> None:
    shares = [list(EpochSampler(range(10), 1, True, 3, rank)) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert {index for share in shares for _, index in share} == set(range(10))
    sampler = EpochSampler(range(10), 1, True)
    sampler.set_epoch(5)
    keys = list(sampler)
    assert {epoch for epoch, _ in keys} == {5}
    assert [index for _, index in keys] != sorted(index for _, index in keys)
    assert list(EpochSampler(range(4), 1, False)) == [(0, 0), (0, 1), (0, 2), (0, 3)]


class _Linear(pl.LightningModule):
    """The smallest thing that Lightning trains."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = nn.Linear(3 * 16 * 16, 2)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images.flatten(1)), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def fitted(catalogue: Catalogue, folder: Path, epochs: int, resume: Path | None = None) -> Tensor:
    network = _Linear()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        default_root_dir=str(folder),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(network, datamodule=module(catalogue), ckpt_path=None if resume is None else str(resume))
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return network.network.weight.detach().clone()


def test_training_that_resumes_sees_the_same_data(catalogue: Catalogue, tmp_path: Path) -> None:
    through = fitted(catalogue, tmp_path, 3)
    fitted(catalogue, tmp_path, 1)
    assert torch.equal(fitted(catalogue, tmp_path, 3, resume=tmp_path / "1.ckpt"), through)


def test_bad_images_stop_the_training_or_are_left_out(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    bad = Sample("bad", tmp_path / "bad.jpg", 0, "train")
    with_bad = Catalogue(catalogue.class_names, (bad, *catalogue.samples), Path("/"))
    strict = module(with_bad)
    strict.setup("fit")
    with pytest.raises(InputError, match=r"bad\.jpg"):
        list(strict.train_dataloader())
    lenient = module(with_bad, on_bad_image="skip")
    with pytest.warns(UserWarning, match=r"left out 1 of 15 images: .*bad\.jpg \(the file is empty\)"):
        lenient.setup("fit")
    assert len(list(lenient.train_dataloader())) == 4


def test_a_split_without_images_is_named(catalogue: Catalogue) -> None:
    without = Catalogue(catalogue.class_names, catalogue.split("train"), catalogue.root)
    with pytest.raises(InputError, match="val split"):
        module(without).setup("fit")
