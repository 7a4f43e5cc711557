"""The maps that know nothing of the network."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from small_networks import seeded_images
from torch import nn

from relsplit.errors import InputError
from relsplit.explainers.center import Center
from relsplit.explainers.edges import Edges
from relsplit.explainers.one_pixel import OnePixel
from relsplit.explainers.random_map import RandomMap
from relsplit.explainers.shared.image_seed import image_seed

NETWORK = nn.Identity()


def test_random_maps_belong_to_image_and_seed() -> None:
    images = seeded_images(3)
    maps = RandomMap(NETWORK).attribute(images)
    assert torch.equal(maps.flip(0), RandomMap(NETWORK).attribute(images.flip(0)))
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(maps, RandomMap(NETWORK, seed=43).attribute(images))
    assert abs(maps.mean() - 0.5) < 0.02
    assert maps.min() >= 0
    assert maps.max() < 1


def test_image_seed_is_the_same_in_every_process() -> None:
    image = torch.arange(12.0).reshape(3, 2, 2)
    assert image_seed(image, 7) == 4146427669172644027
    assert image_seed(image.double(), 7) == 4146427669172644027
    assert image_seed(image, 8) != image_seed(image, 7)
    assert image_seed(image + 1, 7) != image_seed(image, 7)


def test_center_is_a_gaussian_at_the_centre() -> None:
    (found,) = Center(NETWORK, width=0.1).attribute(seeded_images(1, 33))
    assert found.argmax() == 16 * 33 + 16
    assert found[16, 16] == 1
    distance = 10 / 33 / 0.1
    torch.testing.assert_close(found[16, 26], torch.tensor(np.exp(-(distance**2) / 2)))
    torch.testing.assert_close(found, found.flip(0).T)
    with pytest.raises(InputError, match="width must be a finite number above 0"):
        Center(NETWORK, width=0)


def test_one_pixel() -> None:
    maps = OnePixel(NETWORK).attribute(seeded_images(2, 8))
    assert maps.sum() == 2
    assert maps[1, 4, 4] == 1


def test_edges_are_scipys_sobel() -> None:
    images = seeded_images(2, 16)
    grey = (images * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(dim=1).numpy()
    expected = [np.hypot(ndimage.sobel(g, 0, mode="nearest"), ndimage.sobel(g, 1, mode="nearest")) for g in grey]
    np.testing.assert_allclose(Edges(NETWORK).attribute(images).numpy(), expected, rtol=1e-10)
