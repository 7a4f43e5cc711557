"""A catalogue's splits as data loaders for Lightning."""

from collections.abc import Mapping
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.dataset import ClassIndicators, ImageDataset, OnBadImage, class_index
from relsplit.bench.data.epoch_sampler import EpochSampler
from relsplit.bench.data.piped import SECONDS_WITHOUT_A_BATCH, collate_piped, shared_memory_is_scarce
from relsplit.bench.data.readable import readable
from relsplit.bench.data.transforms import EvaluationTransform, Mean, Pixels, Std, TrainingTransform
from relsplit.errors import InputError
from relsplit.options import Count, Limits, OptionsOf, Seed, checked_options

Loader = DataLoader[tuple[Tensor, int | Tensor]]


@checked_options
class ImageDataModule(pl.LightningDataModule):
    """Batches of (images (N, 3, H, W) float, labels (N,) int64) of the splits "train", "val" and "test".

    Where images show several classes, the labels are (N, classes) float in {0, 1}.

    Order and augmentation depend on the seed, the epoch and the sample alone, not on ``num_workers``.

    Args:
        catalogue: the dataset.
        resize: see :class:`relsplit.bench.data.transforms.EvaluationTransform`.
        image_size: see ``resize``.
        mean: see ``resize``.
        std: see ``resize``.
        batch_size: images per batch and process.
        num_workers: data-loading processes; 0 reads in the main process.
        seed: of order and augmentation.
        augmentation: options of :class:`relsplit.bench.data.transforms.TrainingTransform`.
        val_augmentation: validation images are augmented like training images (what the released code does).
        on_bad_image: "error" ends with the first unreadable image; "skip" reads every image once before it starts,
            and leaves the unreadable ones out, with a warning that names them.

    Raises:
        InputError: (in ``setup``) a split has no samples, or (while reading) :class:`BadImage`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        resize: Pixels,
        image_size: Pixels,
        mean: Mean,
        std: Std,
        batch_size: Count,
        num_workers: Annotated[int, Limits(minimum=0)] = 0,
        seed: Seed = 42,
        augmentation: Annotated[Mapping[str, Any] | None, OptionsOf(TrainingTransform)] = None,
        val_augmentation: bool = False,
        on_bad_image: OnBadImage = "error",
    ) -> None:
        super().__init__()
        self.catalogue = catalogue
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.evaluation_transform = EvaluationTransform(resize, image_size, mean, std)
        self.training_transform = TrainingTransform(resize, image_size, mean, std, **(augmentation or {}))
        self.val_transform = self.training_transform if val_augmentation else self.evaluation_transform
        self.target = ClassIndicators(catalogue.num_classes) if catalogue.multi_label else class_index
        self.samples: dict[str, tuple[Sample, ...]] = {}

    def setup(self, stage: str) -> None:
        """Lists the splits that a stage ("fit", "validate" or "test") reads, each once."""
        wanted = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for split in wanted:
            if split not in self.samples:
                self.samples[split] = self._readable(split)

    def train_dataloader(self) -> Loader:
        """Shuffled, augmented batches of "train"."""
        return self._loader("train", self.training_transform, shuffle=True)

    def val_dataloader(self) -> Loader:
        """Batches of "val" in order."""
        return self._loader("val", self.val_transform, shuffle=False)

    def test_dataloader(self) -> Loader:
        """Batches of "test" in order."""
        return self._loader("test", self.evaluation_transform, shuffle=False)

    def _loader(self, split: str, transform: EvaluationTransform | TrainingTransform, shuffle: bool) -> Loader:
        samples = self.samples[split]
        replicas, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        sampler = EpochSampler(samples, self.seed, shuffle, replicas, rank)
        if self.trainer is not None:
            # Worker processes fetch ahead, and after a resumption they do so before Lightning calls set_epoch with
            # this very number (``trainer.current_epoch`` lags behind it until training starts).
            progress = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)  # type: ignore[attr-defined]  # declared as its base class
        return DataLoader(
            ImageDataset(samples, transform, self.seed, self.target),
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=collate_piped if self._is_piped(replicas) else None,
            timeout=SECONDS_WITHOUT_A_BATCH if self.num_workers else 0,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # The loader's own draws stay off the global generator, which belongs to the network.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _is_piped(self, replicas: int) -> bool:
        pixels = self.batch_size * 3 * self.evaluation_transform.image_size**2
        return self.num_workers > 0 and shared_memory_is_scarce(4 * pixels, self.num_workers, replicas)

    def _readable(self, split: str) -> tuple[Sample, ...]:
        samples = self.catalogue.split(split)
        if self.on_bad_image == "skip":
            samples = readable(samples, self.num_workers)
        if not samples:
            raise InputError(f"the {split} split of {self.catalogue.root} has no images: add some, or choose num_val")
        return samples
