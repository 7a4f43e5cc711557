import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter

from relsplit.baseline import BaselineImage
from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.4)


def test_black_is_pixel_value_zero_before_normalisation():
    black = BaselineImage("black", MEAN, STD).of(torch.rand(2, 3, 5, 5))
    assert black.flatten().tolist() == pytest.approx([-2.0, -2.0, -1.5])


def test_mean_is_zero_after_normalisation():
    assert BaselineImage("mean", MEAN, STD).of(torch.rand(2, 3, 5, 5)).flatten().tolist() == [0, 0, 0]


def test_blur_is_rises_kernel():
    # RISE's released code: a unit impulse on 11x11 through scipy's gaussian_filter with sigma 5, then a zero-padded
    # convolution of the normalised image.
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = gaussian_filter(impulse, 5)
    images = torch.rand(2, 3, 20, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blurred = BaselineImage("blur", MEAN, STD).of(images)
    for sample in range(2):
        for channel in range(3):
            expected = convolve(images[sample, channel].numpy(), kernel, mode="constant")
            np.testing.assert_allclose(blurred[sample, channel].numpy(), expected, atol=1e-12)


def test_numbers_are_normalised_values():
    images = torch.rand(2, 3, 5, 5)
    assert BaselineImage(0.5).of(images).flatten().tolist() == [0.5] * 3
    assert BaselineImage([0.5, -1.0, 2.0]).of(images).flatten().tolist() == [0.5, -1.0, 2.0]
    with pytest.raises(InputError, match="3 values for images of 1 channels"):
        BaselineImage([0.5, -1.0, 2.0]).of(images[:, :1])


def test_zero_of_images_is_their_mean():
    images = torch.rand(1, 3, 4, 4)
    assert torch.equal(BaselineImage("zero").of(images), BaselineImage("mean").of(images))


def test_black_is_the_same_for_metrics_and_explainers_to_the_bit():
    """Of a photograph of IMAGENET's normalisation in float32, black pixels themselves."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    photograph = (torch.zeros(1, 3, 4, 4) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert torch.equal(BaselineImage("black", mean, std).of(photograph).expand_as(photograph), photograph)


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ("white", "one of mean, black, blur, zero"),
        ([1.0, 2.0], "a list of 3 values"),
        (float("nan"), "a finite number"),
    ],
)
def test_what_is_no_baseline(baseline, words):
    with pytest.raises(InputError, match=words):
        BaselineImage(baseline)
    with pytest.raises(InputError, match=words):
        Strict(baseline=baseline)
