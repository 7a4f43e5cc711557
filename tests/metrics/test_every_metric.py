"""What every metric and every protocol has to hold: new ones are found in their folders and in the registry."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import relsplit.metrics
import relsplit.metrics.insertion_deletion.protocols
from folders import classes_with
from relsplit.metrics import ExplainedBatch, score_curves
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS

METRICS = classes_with("columns", relsplit.metrics)
COUNT = 4


def explain_with(network: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    def explain(images: Tensor, targets: Tensor) -> Tensor:
        images = images.detach().requires_grad_()
        score = network(images).gather(1, targets[:, None]).sum()
        return (torch.autograd.grad(score, images)[0] * images).sum(1)

    return explain


def batch() -> ExplainedBatch:
    """Four images of a small network, each with a box and a segmentation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double().eval()
        images, targets = torch.randn(COUNT, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    region = torch.zeros(COUNT, 8, 8, dtype=torch.bool)
    region[:, 2:6, 1:5] = True
    maps = explain_with(network)(images, targets)
    return ExplainedBatch(
        images=images,
        labels=targets,
        targets=targets,
        maps=maps,
        relevance_sum=maps.sum((1, 2)),
        probability=network(images).softmax(1).gather(1, targets[:, None])[:, 0].detach(),
        boxes=region,
        segmentations=region,
        network=network,
        explain_with=explain_with,
        attribute=explain_with(network),
    )


def part(whole: ExplainedBatch, rows: Tensor) -> ExplainedBatch:
    """Some images of a batch, in the order of ``rows``."""
    values = {each.name: getattr(whole, each.name) for each in fields(whole)}
    chosen = {name: value[rows] if isinstance(value, Tensor) else value for name, value in values.items()}
    return ExplainedBatch(**{**values, **chosen})


@pytest.mark.parametrize("name", METRICS)
def test_a_metric(name: str) -> None:
    """A value per image and column; the same columns, and values, whatever images share the batch, in any order."""
    metric, whole = METRICS[name](), batch()
    tensors = {key: value.clone() for key, value in vars(whole).items() if isinstance(value, Tensor)}
    weights = {key: value.clone() for key, value in whole.network.state_dict().items()}
    generator = torch.random.get_rng_state()
    columns = metric.columns(whole)
    assert columns
    assert torch.equal(torch.random.get_rng_state(), generator), "numbers were drawn from everybody's generator"
    assert all(torch.equal(getattr(whole, key), value) for key, value in tensors.items())
    assert all(torch.equal(value, weights[key]) for key, value in whole.network.state_dict().items())
    for column, values in columns.items():
        assert values.shape == (COUNT,), column
        assert values.is_floating_point(), column
        assert not values.isinf().any(), column
    again = METRICS[name]().columns(batch())
    same(again, columns)
    if getattr(metric, "images_together", 1) == 1:
        rows = torch.tensor([2, 0])
        same(metric.columns(part(whole, rows)), {column: values[rows] for column, values in columns.items()})


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for column, values in found.items():
        torch.testing.assert_close(values, expected[column], rtol=1e-9, atol=1e-12, equal_nan=True, msg=column)


def test_every_protocol_of_the_folder_can_be_had() -> None:
    folder = classes_with("points", relsplit.metrics.insertion_deletion.protocols)
    assert set(folder.values()) <= {type(PROTOCOLS.get(name)()) for name in PROTOCOLS.names()}


VALUES = {
    "continuous": torch.rand(400, generator=torch.Generator().manual_seed(0)).sort(descending=True).values,
    "levels": torch.linspace(3, -4, 400).round(),
    "one pixel": torch.cat([torch.ones(1), torch.zeros(399)]),
    "constant": torch.zeros(400),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_a_protocol(name: str, values: Tensor) -> None:
    """Points from left to right, of the pixels that there are; the order of a map decides, not its values."""
    protocol, before = PROTOCOLS.get(name)(), values.clone()
    points = protocol.points(values)
    assert torch.equal(values, before)
    assert points.lengths.dtype == torch.int64
    assert points.lengths.shape == points.fraction.shape
    assert len(points.lengths) > 1
    assert int(points.lengths.min()) >= 0
    assert int(points.lengths.max()) <= len(values)
    assert (points.lengths.diff() >= 0).all()
    assert (points.fraction.diff() > 0).all()
    assert float(points.fraction[0]) >= 0
    assert float(points.fraction[-1]) <= 1
    moved = protocol.points(values.double() ** 3 * 7 - 5)
    assert torch.equal(moved.lengths, points.lengths)
    assert torch.equal(moved.fraction, points.fraction)


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_a_protocols_scores_are_areas(name: str) -> None:
    whole = batch()
    network: Any = whole.network
    scores = score_curves(network, whole.images, whole.maps, whole.targets, {"": PROTOCOLS.get(name)()})[""]
    for area in (scores.insertion, scores.deletion):
        assert area.shape == (COUNT,)
        assert ((area >= 0) & (area <= 1)).all()
