import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter

from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.replacement import baseline_image

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.4)


def test_black_is_pixel_value_zero_before_normalisation():
    black = baseline_image(torch.rand(2, 3, 5, 5), "black", MEAN, STD)
    assert black.flatten().tolist() == pytest.approx([-2.0, -2.0, -1.5])


def test_mean_is_zero_after_normalisation():
    assert baseline_image(torch.rand(2, 3, 5, 5), "mean", MEAN, STD).flatten().tolist() == [0, 0, 0]


def test_blur_is_rises_kernel():
    # RISE's released code: a unit impulse on 11x11 through scipy's gaussian_filter with sigma 5, then a zero-padded
    # convolution of the normalised image.
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = gaussian_filter(impulse, 5)
    images = torch.rand(2, 3, 20, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blurred = baseline_image(images, "blur", MEAN, STD)
    for sample in range(2):
        for channel in range(3):
            expected = convolve(images[sample, channel].numpy(), kernel, mode="constant")
            np.testing.assert_allclose(blurred[sample, channel].numpy(), expected, atol=1e-12)


def test_unknown_baseline():
    with pytest.raises(InputError, match="one of black, mean, blur"):
        baseline_image(torch.rand(1, 3, 5, 5), "white", MEAN, STD)
