"""From files to tensors: geometry, normalisation, augmentation, and unreadable files on the way."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric.utilities import move_data_to_device
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.transforms import functional as F

from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.dataset import EvaluationDataset, ImageDataset, collate_evaluation
from relsplit.bench.data.image_reading import BadImage
from relsplit.bench.data.transforms import EvaluationTransform, TrainingTransform, box_mask
from relsplit.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(500, 375), (300, 451), (64, 64), (40, 31)])
def test_the_evaluation_transform_is_torchvisions_bit_for_bit(size: tuple[int, int]) -> None:
    peer = T.Compose([T.Resize(64), T.CenterCrop(56), T.ToTensor(), T.Normalize(MEAN, STD)])
    assert torch.equal(EvaluationTransform(64, 56, MEAN, STD)(photo(*size)), peer(photo(*size)))


@pytest.mark.parametrize("size", [(90, 60), (61, 83)])
def test_regions_follow_the_image(size: tuple[int, int]) -> None:
    """A white rectangle on black, drawn into the image, and its mask arrive at the same pixels."""
    width, height = size
    box = (20.0, 11.0, 31.0, 24.0)
    mask = box_mask(box, width, height)
    assert mask.sum() == 31 * 24
    assert mask[11, 20]
    assert not mask[10, 20]
    transform = EvaluationTransform(48, 40, (0.0,) * 3, (1.0,) * 3)
    image = Image.fromarray(np.repeat(mask[..., None], 3, -1).astype(np.uint8) * 255)
    assert torch.equal(transform.region(mask), transform(image)[0] >= 0.5)


def test_a_region_of_everything_is_everything() -> None:
    transform = EvaluationTransform(48, 40, MEAN, STD)
    assert transform.region(np.ones((61, 83), dtype=np.bool_)).all()
    assert not transform.region(np.zeros((61, 83), dtype=np.bool_)).any()


def test_augmented_crops_are_distributed_like_torchvisions() -> None:
    """Means and spreads of the crop's four numbers, over many draws, against ``RandomResizedCrop.get_params``."""
    transform = TrainingTransform(256, 224, MEAN, STD)
    rng = random.Random(0)
    ours = np.array([transform._random_crop(341, 256, rng) for _ in range(4000)], dtype=float)
    image = Image.new("RGB", (341, 256))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        peer = [T.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    theirs = np.array([(left, top, width, height) for top, left, height, width in peer], dtype=float)
    noise = theirs.std(0) * np.sqrt(2 / 4000)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 4 * noise).all()
    assert (np.abs(ours.std(0) - theirs.std(0)) < 4 * noise).all()
    assert (ours[:, 0] + ours[:, 2] <= 341).all()
    assert (ours[:, 1] + ours[:, 3] <= 256).all()


@pytest.mark.parametrize("size", [(80, 64), (64, 64), (171, 128), (50, 41), (333, 500)])
def test_an_augmented_image_is_torchvisions_for_the_same_crop(size: tuple[int, int]) -> None:
    """Resize, crop and resize again; only what the crop needs is computed, which may cost a rounding step."""
    image = photo(*size)
    transform = TrainingTransform(64, 48, (0.0,) * 3, (1.0,) * 3, crop_scale=(0.3, 0.9), flip=0.0)
    resized = F.resize(image, [64])
    for seed in range(8):
        left, top, width, height = transform._random_crop(*resized.size, random.Random(seed))
        crop = F.resized_crop(resized, top, left, height, width, [48, 48], F.InterpolationMode.BILINEAR)
        ours = transform(image, random.Random(seed))
        assert (ours - F.to_tensor(crop)).abs().max() <= 1.01 / 255
        mirrored = TrainingTransform(64, 48, (0.0,) * 3, (1.0,) * 3, crop_scale=(0.3, 0.9), flip=1.0)
        assert torch.equal(mirrored(image, random.Random(seed)), ours.flip(2))


def test_where_no_crop_fits_the_largest_allowed_one_is_centred() -> None:
    transform = TrainingTransform(10, 8, MEAN, STD, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    assert transform._random_crop(100, 10, random.Random(0)) == (45, 0, 10, 10)


def test_impossible_crops_are_refused() -> None:
    with pytest.raises(InputError, match="crop_scale"):
        TrainingTransform(64, 64, MEAN, STD, crop_scale=(0.5, 0.1))


def sample_files(folder: Path, broken: tuple[int, ...] = ()) -> list[Sample]:
    samples = []
    for k in range(6):
        path = folder / f"{k}.png"
        photo(20, 16, k).save(path)
        if k in broken:
            path.write_text("no picture")
        mask = folder / f"mask{k}.png"
        Image.fromarray(np.full((16, 20), 255, np.uint8)).save(mask)
        box = (0.0, 0.0, 20.0, 16.0) if k % 2 else None
        samples.append(Sample(str(k), path, k % 3, "test", box, mask if k < 4 else None))
    return samples


def test_augmentation_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    transform = TrainingTransform(16, 12, MEAN, STD)
    dataset = ImageDataset(sample_files(tmp_path), transform, seed=7)
    first = dataset[(2, 3)][0]
    torch.manual_seed(123)
    random.seed(123)
    dataset[(0, 0)]
    state = torch.random.get_rng_state()
    assert torch.equal(dataset[(2, 3)][0], first)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is left alone
    assert not torch.equal(dataset[(3, 3)][0], first)
    assert not torch.equal(ImageDataset(dataset.samples, transform, seed=8)[(2, 3)][0], first)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_skipped_samples_are_known(tmp_path: Path, num_workers: int) -> None:
    dataset = EvaluationDataset(
        sample_files(tmp_path, broken=(1, 2, 3)), EvaluationTransform(16, 16, MEAN, STD), on_bad_image="skip"
    )
    loader = DataLoader(dataset, batch_size=2, num_workers=num_workers, collate_fn=collate_evaluation)
    first, second, third = list(loader)
    assert (first.indices, first.labels.tolist(), len(first.images)) == ((0,), [0], 1)
    assert first.skipped == ((1, "it is not an image of a known format"),)
    assert (second.indices, len(second.images), len(second.labels), len(second.boxes)) == ((), 0, 0, 0)
    assert [index for index, _ in second.skipped] == [2, 3]
    assert third.indices == (4, 5)
    assert not first.boxes.any()  # sample 0 has no box
    assert first.segmentations.all()
    assert third.boxes[1].all()
    assert not third.segmentations.any()


def test_lightning_can_move_a_batch(tmp_path: Path) -> None:
    dataset = EvaluationDataset(sample_files(tmp_path), EvaluationTransform(16, 16, MEAN, STD))
    batch = collate_evaluation([dataset[0], dataset[1]])
    moved = move_data_to_device(batch, torch.device("meta"))
    assert (moved.images.device.type, moved.boxes.device.type) == ("meta", "meta")
    assert moved.indices == (0, 1)


def test_with_error_the_file_is_named(tmp_path: Path) -> None:
    samples = sample_files(tmp_path, broken=(1,))
    dataset = EvaluationDataset(samples, EvaluationTransform(16, 16, MEAN, STD))
    with pytest.raises(BadImage, match=r"1\.png"):
        dataset[1]


def test_a_mask_of_another_size_is_a_bad_image(tmp_path: Path) -> None:
    samples = sample_files(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "mask0.png")
    with pytest.raises(BadImage, match=r"mask0\.png.*8, 8"):
        EvaluationDataset(samples, EvaluationTransform(16, 16, MEAN, STD))[0]
