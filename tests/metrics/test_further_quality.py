"""Rank accuracy, pixel flipping, Sensitivity-n and ROAD: closed forms, ties, and what does not matter."""

import numpy as np
import pytest
import torch
from test_columns import batch as explained_batch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.metrics import (
    ROAD,
    PixelFlipping,
    RankAccuracy,
    SensitivityN,
    flipping_area,
    imputed_survival,
    relevance_rank_accuracy,
    subset_correlation,
)
from relsplit.metrics.road import linear_imputation


class OnePixelCounts(nn.Module):
    """Two classes; the score of the first is the top left pixel."""

    def forward(self, images: Tensor) -> Tensor:
        score = images[:, 0, 0, 0]
        return torch.stack([score, -score], 1)


def bright(count: int = 2, size: int = 6) -> Tensor:
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) + 1
    images[:, :, 0, 0] = 8
    return images


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e200])
def test_sensitivity_n_does_not_depend_on_the_scale_of_a_map(scale: float) -> None:
    images, targets = bright(), torch.zeros(2).long()
    maps = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    expected = subset_correlation(OnePixelCounts(), images, maps, targets)
    assert expected.abs().min() > 0.01
    found = subset_correlation(OnePixelCounts(), images, maps * scale, targets)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("value", [1e-14, 1 / 3, 1e14])
def test_sensitivity_n_of_a_constant_map_is_0(value: float) -> None:
    images, targets = bright(size=32), torch.zeros(2).long()
    maps = torch.full((2, 32, 32), value, dtype=torch.float64)
    assert subset_correlation(OnePixelCounts(), images, maps, targets).tolist() == [0, 0]


def test_rank_accuracy_of_a_constant_map_is_the_area() -> None:
    regions = torch.zeros(1, 4, 4, dtype=torch.bool)
    regions[0, :2, :3] = True
    assert relevance_rank_accuracy(torch.ones(1, 4, 4), regions).item() == pytest.approx(6 / 16)
    assert relevance_rank_accuracy(regions.double(), regions).item() == 1
    assert relevance_rank_accuracy(-regions.double(), regions).item() == 0
    half = regions.double()
    half[0, 0] = 3  # four pixels above all, three of them inside; of the two others both drawn from three inside
    assert relevance_rank_accuracy(half, regions).item() == pytest.approx((3 + 2) / 6)
    with pytest.raises(InputError, match="empty"):
        relevance_rank_accuracy(torch.ones(1, 4, 4), ~torch.ones(1, 4, 4, dtype=torch.bool))


def test_pixel_flipping_of_the_pixel_that_counts() -> None:
    images, targets = bright(), torch.zeros(2).long()
    first, last = torch.zeros(2, 6, 6), torch.zeros(2, 6, 6)
    first[:, 0, 0], last[:, 0, 0] = 1, -1
    assert flipping_area(OnePixelCounts(), images, first, targets, steps=6).tolist() == pytest.approx([0.5, 0.5])
    # All points but the last, the empty image, still show the pixel.
    expected = (4 * 1 + (1 + 0.5) / 2) / 5
    found = flipping_area(OnePixelCounts(), images, last, targets, steps=6)
    assert found.tolist() == pytest.approx([expected] * 2, abs=1e-5)


def test_sensitivity_n_of_the_pixel_that_counts() -> None:
    images, targets = bright(), torch.zeros(2).long()
    maps = torch.zeros(2, 6, 6)
    maps[:, 0, 0] = 1
    assert subset_correlation(OnePixelCounts(), images, maps, targets).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert subset_correlation(OnePixelCounts(), images, -maps, targets).tolist() == pytest.approx([-1, -1], abs=1e-6)
    assert subset_correlation(OnePixelCounts(), images, torch.ones(2, 6, 6), targets).tolist() == [0, 0]


def test_what_is_drawn_belongs_to_the_image_not_to_the_batch() -> None:
    images, targets = bright(3), torch.zeros(3).long()
    maps = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    for metric in (subset_correlation, lambda *arguments: imputed_survival(*arguments, noise=2.0), flipping_area):
        together = metric(OnePixelCounts(), images, maps, targets)
        alone = [metric(OnePixelCounts(), images[i : i + 1], maps[i : i + 1], targets[:1]) for i in range(3)]
        torch.testing.assert_close(torch.cat(alone), together)


def test_imputation_of_one_pixel_and_of_a_plane() -> None:
    generator = np.random.default_rng(0)
    image, mask = generator.normal(size=(2, 5, 5)), np.zeros((5, 5), dtype=bool)
    mask[2, 2] = True
    around = image[:, 1:4, 1:4]
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    np.testing.assert_allclose(linear_imputation(image, mask)[:, 2, 2], (around * weights).sum((1, 2)))
    plane = np.add.outer(np.arange(7.0), 2 * np.arange(7.0))[None]
    inside = np.zeros((7, 7), dtype=bool)
    inside[2:5, 1:6] = True
    np.testing.assert_allclose(linear_imputation(plane, inside), plane)  # the mean of its neighbours, everywhere
    assert np.isfinite(linear_imputation(plane, np.ones((7, 7), dtype=bool) & (plane[0] > 0))).all()


def test_road_imputes_the_pixel_that_counts() -> None:
    images, targets = -bright(), torch.zeros(2).long()
    images[:, :, 0, 0] = 8
    maps = torch.zeros(2, 6, 6)
    maps[:, 0, 0] = 1
    assert imputed_survival(OnePixelCounts(), images, maps, targets).tolist() == [0, 0]
    found = imputed_survival(OnePixelCounts(), images, -maps, targets)
    assert found.tolist() == [1, 1]


def test_columns() -> None:
    given = explained_batch()
    columns = {
        name: values
        for metric in (RankAccuracy(), PixelFlipping(4), SensitivityN((0.5,), 4), ROAD((50,)))
        for name, values in metric.columns(given).items()
    }
    assert list(columns) == ["rank_accuracy", "pixel_flipping", "sensitivity_n", "road"]
    assert all(values.shape == (3,) and values.isfinite().all() for values in columns.values())
    assert columns["rank_accuracy"].tolist() == pytest.approx([1 / 4, 0, 1 / 4], abs=0.2)


@pytest.mark.parametrize("bad", [lambda: ROAD((0,)), lambda: PixelFlipping(1), lambda: SensitivityN((2.0,))])
def test_options_that_cannot_be_used(bad) -> None:
    with pytest.raises(InputError, match="must be"):
        bad()
