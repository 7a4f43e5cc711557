"""Columns of an evaluation beside the protocols' scores: the right tensors reach the right metric."""

import math

import torch
from gradient_maps import explain_with
from torch import nn

from relsplit.metrics import Conservation, ExplainedBatch, Localisation, Randomisation, Sensitivity, Sparsity


def batch() -> ExplainedBatch:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    images, targets = torch.randn(3, 3, 8, 8), torch.tensor([0, 1, 2])
    maps = torch.zeros(3, 8, 8)
    maps[0, 1, 1] = 1.0  # inside the box and the mask
    maps[1, 6, 6] = 1.0  # outside both
    maps[2] = 1.0
    boxes, segmentations = torch.zeros(3, 8, 8, dtype=torch.bool), torch.zeros(3, 8, 8, dtype=torch.bool)
    boxes[:, :4, :4] = True
    segmentations[:2, :2, :2] = True  # the third has a box only
    return ExplainedBatch(
        images=images,
        labels=targets,
        targets=targets,
        maps=maps,
        relevance_sum=torch.tensor([0.5, 0.4, 0.1]),
        probability=torch.tensor([0.5, 0.8, 0.0]),
        boxes=boxes,
        segmentations=segmentations,
        network=network,
        explain_with=explain_with,
        attribute=explain_with(network),
    )


def test_localisation_uses_the_mask_and_falls_back_to_the_box() -> None:
    columns = Localisation().columns(batch())
    assert columns["energy_in_box"].tolist() == [1.0, 0.0, 0.25]
    assert columns["energy_in_mask"][:2].tolist() == [1.0, 0.0]
    assert math.isnan(columns["energy_in_mask"][2])
    assert columns["pointing_game"].tolist() == [1.0, 0.0, 0.25]
    assert Localisation(tolerance=8).columns(batch())["pointing_game"].tolist() == [1.0, 1.0, 1.0]


def test_without_any_region_localisation_is_not_a_number() -> None:
    known = batch()
    nowhere = torch.zeros_like(known.boxes)
    unknown = ExplainedBatch(**{**known.__dict__, "boxes": nowhere, "segmentations": nowhere})
    assert all(values.isnan().all() for values in Localisation().columns(unknown).values())


def test_conservation_gap_is_relative_to_the_probability() -> None:
    gap = Conservation().columns(batch())["conservation_gap"]
    assert torch.allclose(gap[:2], torch.tensor([0.0, 0.5], dtype=torch.float64), atol=1e-7)
    assert math.isnan(gap[2])


def test_sparsity_of_a_single_pixel_and_of_a_constant() -> None:
    values = Sparsity().columns(batch())["gini"]
    assert torch.allclose(values, torch.tensor([63 / 64, 63 / 64, 0.0], dtype=torch.float64))


def test_sensitivity_grows_with_the_radius() -> None:
    small, large = (
        Sensitivity(radius=radius, num_perturbations=3).columns(batch())["max_sensitivity"] for radius in (0.01, 0.5)
    )
    assert (small > 0).all()
    assert (small < large).all()


def test_randomisation_goes_from_the_output_down_and_leaves_the_network() -> None:
    given = batch()
    before = [parameter.clone() for parameter in given.network.parameters()]
    columns = Randomisation().columns(given)
    assert list(columns) == ["rank_correlation_3", "rank_correlation_0", "rank_correlation"]
    stages = (columns["rank_correlation_3"] + columns["rank_correlation_0"]) / 2
    assert torch.allclose(columns["rank_correlation"], stages)
    assert all((values.abs() < 0.99).all() for values in columns.values())
    assert all(torch.equal(a, b) for a, b in zip(before, given.network.parameters(), strict=True))
