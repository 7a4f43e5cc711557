"""Energy inside a region and the pointing game, by hand."""

import pytest
import torch

from relsplit.errors import InputError
from relsplit.metrics import energy_inside, pointing_game

REGION = torch.zeros(1, 4, 4, dtype=torch.bool)
REGION[0, 1:3, 1:3] = True


def at(*pixels, value=1.0):
    maps = torch.zeros(1, 4, 4)
    for row, column in pixels:
        maps[0, row, column] = value
    return maps


def test_energy_is_the_share_of_the_positive_part():
    maps = at((1, 1), (2, 2), value=3.0) + at((0, 0), value=2.0) + at((1, 2), (3, 3), value=-5.0)
    assert energy_inside(maps, REGION).item() == pytest.approx(6 / 8)


def test_energy_of_a_map_without_positive_part_is_zero():
    assert energy_inside(torch.cat([at(), at((1, 1), value=-1.0)]), REGION.expand(2, 4, 4)).tolist() == [0, 0]


def test_energy_of_a_constant_map_is_the_area_of_the_region():
    assert energy_inside(torch.full((1, 4, 4), 0.3), REGION).item() == pytest.approx(4 / 16)


def test_energy_does_not_depend_on_the_scale():
    maps = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    region = REGION.expand(3, 4, 4)
    torch.testing.assert_close(energy_inside(maps * 1e-12, region), energy_inside(maps, region), rtol=1e-6, atol=0)


def test_pointing_game_hits_and_misses():
    maps = torch.cat([at((2, 1)), at((0, 1)), at((3, 3))])
    assert pointing_game(maps, REGION.expand(3, 4, 4)).tolist() == [1, 0, 0]


def test_pointing_game_of_tied_maxima_is_the_chance_of_a_hit():
    assert pointing_game(at((1, 1), (0, 0), (0, 3)), REGION).item() == pytest.approx(1 / 3)
    assert pointing_game(torch.zeros(1, 4, 4), REGION).item() == pytest.approx(4 / 16)


def test_tolerance_is_a_euclidean_distance():
    # (0, 1) is 1 from the region, (3, 3) is sqrt(2) from its corner (2, 2).
    maps = torch.cat([at((0, 1)), at((3, 3))])
    region = REGION.expand(2, 4, 4)
    assert pointing_game(maps, region, tolerance=1).tolist() == [1, 0]
    assert pointing_game(maps, region, tolerance=2).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("maps", "regions", "message"),
    [
        (at()[0], REGION[0], "sample 0 of the batch is empty"),
        (at(), REGION[:, :2], "must both be"),
        (at(), REGION.float(), "boolean"),
        (at(), torch.zeros_like(REGION), "region of sample 0"),
        (at((0, 0), value=float("nan")), REGION, "NaN"),
    ],
)
def test_inputs_that_do_not_fit(maps, regions, message):
    for function in (energy_inside, pointing_game):
        with pytest.raises(InputError, match=message):
            function(maps, regions)


def test_negative_tolerance():
    with pytest.raises(InputError, match="tolerance must be"):
        pointing_game(at(), REGION, tolerance=-1)
