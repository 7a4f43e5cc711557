"""Every protocol on a 4x4 example that is worked out by hand, ties included."""

import pytest
import torch
from torch import nn

from relsplit.metrics import InsertionDeletion
from relsplit.metrics.insertion_deletion.protocols.levels import Levels

# 16 pixels on four levels: 1 pixel at 9, 2 at 7, 4 at 5, 9 at 1.
MAP = torch.tensor([[[9.0, 7, 7, 5], [5, 5, 5, 1], [1, 1, 1, 1], [1, 1, 1, 1]]])
# In the order of the map, ties by index, the first k pixels add up to
# S(0) = 0, S(1) = 3, S(2) = 5, S(3) = 6, S(4) = ... = S(15) = 7, S(16) = 8.
IMAGE = torch.tensor([[[[3.0, 2, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]]], dtype=torch.float64)


class SumOfPixels(nn.Module):
    """Probability of class 0 is (1 + sum of the pixels) / 10, of class 1 the rest."""

    def forward(self, images):
        probability = (1 + images.sum((1, 2, 3))) / 10
        return torch.stack([probability.log(), (1 - probability).log()], 1)


def score(protocol, maps=MAP, target=0, **options):
    # mean 0 and std 1: black is 0
    metric = InsertionDeletion(SumOfPixels(), protocol=protocol, mean=(0.0,), std=(1.0,), **options)
    metric.update(IMAGE, maps, torch.tensor([target]))
    return {name: value.item() for name, value in metric.compute().items()}


def test_published_inserts_tied_pixels_together_on_a_nominal_axis():
    # step 4: n = 4, 8, 12, 15. The value of (0-based) rank 4 is 5, of ranks 8, 12 and 15 it is 1.
    # Pixels at or above them: 7, 16, 16, 16. Insertion: 0.8, 0.9, 0.9, 0.9. Deletion: 0.2, 0.1, 0.1, 0.1.
    found = score("published", step=4)
    assert found["insertion"] == pytest.approx((0.4 + 0.9 + 0.9 + 0.45) / 3)
    assert found["deletion"] == pytest.approx((0.1 + 0.1 + 0.1 + 0.05) / 3)
    assert found["id_score"] == pytest.approx(2.3 / 3)


def test_published_mask_reaches_the_rank_after_the_nominal_count():
    # step 1 ends with n = 15 twice; all values distinct, so n + 1 pixels: k = 2, 3, ..., 16, 16, with
    # S = 5, 6, then 7 (k = 4 to 15: twelve times), 8, 8.
    found = score("published", maps=torch.arange(16.0, 0, -1).view(1, 4, 4), step=1)
    assert found["insertion"] == pytest.approx((0.6 / 2 + 0.7 + 12 * 0.8 + 0.9 + 0.9 / 2) / 15)
    assert found["deletion"] == pytest.approx((0.4 / 2 + 0.3 + 12 * 0.2 + 0.1 + 0.1 / 2) / 15)


def test_published_with_ties_by_index():
    # k = n + 1 = 5, 9, 13, 16: S = 7, 7, 7, 8.
    found = score("published", step=4, ties="index")
    assert found["insertion"] == pytest.approx((0.4 + 0.8 + 0.8 + 0.45) / 3)
    assert found["deletion"] == pytest.approx((0.1 + 0.2 + 0.2 + 0.05) / 3)


def test_strict_inserts_exactly_n_pixels():
    # k = n = 2, 4, ..., 14, 15: S = 5, then 7 seven times.
    found = score("strict", step=2)
    assert found["insertion"] == pytest.approx((0.3 + 6 * 0.8 + 0.4) / 7)
    assert found["deletion"] == pytest.approx((0.2 + 6 * 0.2 + 0.1) / 7)


def test_strict_breaks_ties_by_pixel_index():
    # A constant map is inserted row by row, which is MAP's own order.
    assert score("strict", maps=torch.zeros(1, 4, 4), step=2) == pytest.approx(score("strict", step=2))


def test_strict_with_ties_together():
    # The 2nd pixel is at 7 (3 pixels), the 4th and 6th at 5 (7), the 8th and later at 1 (16): S = 6, 7, 7, then 8.
    found = score("strict", step=2, ties="together")
    assert found["insertion"] == pytest.approx((0.7 / 2 + 2 * 0.8 + 4 * 0.9 + 0.9 / 2) / 7)
    assert found["deletion"] == pytest.approx((0.3 / 2 + 2 * 0.2 + 4 * 0.1 + 0.1 / 2) / 7)


def test_levels_places_each_level_at_its_true_fraction():
    # k = 0, 1, 3, 7, 16, so the steps are 1, 2, 4 and 9 pixels of 16 wide.
    # Insertion: 0.1, 0.4, 0.7, 0.8, 0.9; deletion: 0.9, 0.6, 0.3, 0.2, 0.1.
    found = score("levels")
    assert found["insertion"] == pytest.approx((1 * 0.25 + 2 * 0.55 + 4 * 0.75 + 9 * 0.85) / 16)
    assert found["deletion"] == pytest.approx((1 * 0.75 + 2 * 0.45 + 4 * 0.25 + 9 * 0.15) / 16)


def test_levels_of_a_map_with_too_many_levels_keeps_the_published_counts():
    # Of the ends 1, 3, 7, 16, those of the levels that hold the 4th, 8th, 12th and 15th pixel: 7 and 16.
    found = score("levels", step=4)  # four levels are not too many: the step plays no part
    assert found == pytest.approx(score("levels"))
    metric = InsertionDeletion(SumOfPixels(), Levels(step=4, max_levels=3), mean=(0.0,), std=(1.0,))
    metric.update(IMAGE, MAP, torch.tensor([0]))
    # k = 0, 7, 16: insertion 0.1, 0.8, 0.9
    assert metric.compute()["insertion"].item() == pytest.approx((7 * 0.45 + 9 * 0.85) / 16)


def test_the_class_that_is_read_is_the_target():
    # Class 1 has the remaining probability, so both areas turn to 1 - area.
    first, second = score("strict", step=2), score("strict", step=2, target=1)
    assert second["insertion"] == pytest.approx(1 - first["insertion"])
    assert second["id_score"] == pytest.approx(-first["id_score"])


def test_patches_move_as_one_and_rank_by_their_maximum():
    # 2x2 blocks: maxima 9, 7 / 1, 1, sums of the image 5, 2 / 0, 1. step 1: n = 1, 2, 3, 3 blocks exactly.
    # S = 5, 7, 7, 7.
    found = score("strict", step=1, patch=2)
    assert found["insertion"] == pytest.approx((0.3 + 0.8 + 0.8 + 0.4) / 3)
    assert found["deletion"] == pytest.approx((0.2 + 0.2 + 0.2 + 0.1) / 3)


def test_one_pixel_is_the_best_map_under_published_and_not_under_strict():
    # All points of the published protocol lie beyond the one pixel, so they show 16 pixels: insertion p(full) = 0.9,
    # deletion p(black) = 0.1, and no map can do better as long as these are the extremes.
    one_pixel = torch.zeros(1, 4, 4)
    one_pixel[0, 3, 0] = 1  # a pixel that is 0 in the image: worthless
    assert score("published", maps=one_pixel, step=2)["id_score"] == pytest.approx(0.8)
    assert score("published", step=2)["id_score"] < 0.8
    assert score("strict", maps=one_pixel, step=2)["id_score"] < score("strict", step=2)["id_score"]
    assert score("levels", maps=one_pixel)["id_score"] < score("levels")["id_score"]


def test_mean_baseline_is_the_mean_of_the_data():
    # Normalised with mean 0.5 the removed pixels are 0, where black would be -0.5.
    metric = InsertionDeletion(SumOfPixels(), "strict", step=4, baseline="mean", mean=(0.5,), std=(1.0,))
    metric.update(IMAGE, MAP, torch.tensor([0]))
    assert metric.compute()["insertion"].item() == pytest.approx(0.8)
