import pytest
import torch

from relsplit.errors import InputError
from relsplit.metrics import conservation_gap, gini


def test_gini_by_hand():
    # Sorted 1, 1, 2, 4: weights -3, -1, 1, 3 give 10; over 4 * 8.
    assert gini(torch.tensor([[[4.0, -1], [1, -2]]])).item() == pytest.approx(10 / 32)


def test_gini_extremes():
    one = torch.zeros(1, 5, 5)
    one[0, 2, 3] = -7
    assert gini(one).item() == pytest.approx(1 - 1 / 25)
    assert gini(torch.full((1, 5, 5), 3.0)).item() == pytest.approx(0, abs=1e-12)
    assert gini(torch.zeros(1, 5, 5)).item() == 0


def test_gini_is_half_the_relative_mean_difference():
    values = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat = values.flatten(1)
    difference = (flat[:, :, None] - flat[:, None, :]).abs().mean((1, 2))
    torch.testing.assert_close(gini(values), difference / (2 * flat.mean(1)))


def test_conservation_gap_by_hand():
    relevance = torch.tensor([[[0.1, 0.2], [0.3, -0.1]], [[0.5, 0], [0, 0]]])
    assert conservation_gap(relevance, torch.tensor([0.4, 0.5])).tolist() == pytest.approx([0.25, 0], abs=1e-6)


def test_conservation_gap_of_a_negative_value():
    relevance = torch.tensor([[[0.1, -0.5], [-0.3, 0.1]], [[-0.5, 0], [0, 0]]])
    assert conservation_gap(relevance, torch.tensor([-0.8, 0.25])).tolist() == pytest.approx([0.25, 3], abs=1e-6)


def test_conservation_gap_takes_relevance_with_channels():
    relevance = torch.full((2, 3, 2, 2), 0.05)
    assert conservation_gap(relevance, torch.tensor([0.6, 0.5])).tolist() == pytest.approx([0, 0.2], abs=1e-6)


@pytest.mark.parametrize("start", [torch.tensor([0.4]), torch.tensor([0.4, 0.0]), torch.tensor([0.4, float("nan")])])
def test_a_start_that_cannot_be_compared(start):
    with pytest.raises(InputError, match="2 numbers other than 0"):
        conservation_gap(torch.ones(2, 3, 3), start)


def test_nan_is_refused():
    with pytest.raises(InputError, match="map 1 of the batch"):
        gini(torch.tensor([[[1.0]], [[float("nan")]]]))
