"""Metrics of signals and volumes are those of the same numbers laid out as images; numpy arrays are tensors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relsplit import heat_quantization
from relsplit.errors import InputError
from relsplit.metrics import (
    InsertionDeletion,
    conservation_gap,
    energy_inside,
    flipping_area,
    gini,
    imputed_survival,
    max_sensitivity,
    pointing_game,
    rank_correlation,
    relevance_rank_accuracy,
    subset_correlation,
)
from relsplit.metrics.road import linear_imputation
from relsplit.targets import Likeness, NextToken, Pixels, Value


class Laid(nn.Module):
    """A network that sees inputs of one shape as those of another."""

    def __init__(self, inner: nn.Module, *shape: int) -> None:
        super().__init__()
        self.inner, self.shape = inner, shape

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.reshape(len(x), *self.shape))


@pytest.fixture(params=[(2, 24), (2, 3, 4, 5)], ids=["signal", "volume"])
def case(request: pytest.FixtureRequest) -> Any:
    shape = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        conv = (nn.Conv1d if len(shape) == 2 else nn.Conv3d)(2, 6, 3, padding=1)
        model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
        x, maps = torch.randn(4, *shape), torch.randn(4, *shape[1:])
        model(x)
    return model, x, maps, torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("protocol", ["strict", "published", "levels"])
def test_curves(case: Any, protocol: str) -> None:
    model, x, maps, targets = case
    metric, as_images = InsertionDeletion(model, protocol, baseline="mean"), (4, 2, -1, x.shape[-1])
    metric.update(x, maps, targets)
    images = x.reshape(as_images)
    other = InsertionDeletion(Laid(model, *x.shape[1:]), protocol, baseline="mean")
    other.update(images, maps.reshape(4, -1, x.shape[-1]), targets)
    assert metric.compute() == other.compute()
    of_arrays = InsertionDeletion(model, protocol, baseline="mean")
    of_arrays.update(x, maps.numpy(), targets.numpy())
    assert of_arrays.compute() == metric.compute()
    flipped = flipping_area(model, x, maps, targets)
    of_images = flipping_area(Laid(model, *x.shape[1:]), images, maps.reshape(4, -1, x.shape[-1]), targets)
    assert torch.equal(flipped, of_images)


def test_sets_of_places_and_small_moves(case: Any) -> None:
    model, x, maps, targets = case
    laid, images = Laid(model, *x.shape[1:]), x.reshape(4, 2, -1, x.shape[-1])
    rows = maps.reshape(4, -1, x.shape[-1])
    for options in ({}, {"baseline": 0.5}):
        found = subset_correlation(model, x, maps, targets, subsets=5, **options)  # type: ignore[arg-type]
        assert torch.equal(found, subset_correlation(laid, images, rows, targets, subsets=5, **options))  # type: ignore[arg-type]

    def explain(network: nn.Module) -> Any:
        return lambda inputs, classes: torch.autograd.functional.jacobian(
            lambda x: network(x).gather(1, classes[:, None]).sum(), inputs
        )

    moved = max_sensitivity(explain(model), x, targets, num_perturbations=2)
    torch.testing.assert_close(moved, max_sensitivity(explain(laid), images, targets, num_perturbations=2))


def test_what_was_taken_away_is_filled_in_from_its_neighbours(case: Any) -> None:
    """A place of a signal is the mean of the two beside it; a volume's are weighed by how many axes lie between."""
    model, x, maps, targets = case
    sample, mask = x[0].double().numpy(), np.zeros(x.shape[2:], dtype=bool)
    inner = tuple(side // 2 for side in mask.shape)
    mask[inner] = True
    total, weights = np.zeros(2), 0.0
    for step in np.ndindex(*[3] * mask.ndim):
        by = np.array(step) - 1
        if by.any():
            weight = 0.5 ** np.count_nonzero(by)
            total += weight * sample[(slice(None), *(np.array(inner) + by))]
            weights += weight
    filled = linear_imputation(sample, mask)
    np.testing.assert_allclose(filled[(slice(None), *inner)], total / weights)
    np.testing.assert_array_equal(filled[:, ~mask], sample[:, ~mask])
    survived = imputed_survival(model, x, maps.numpy(), targets, percentages=[20, 60])
    if x.dim() == 3:  # a row of an image has the same neighbours
        as_images = imputed_survival(
            Laid(model, *x.shape[1:]), x[:, :, None], maps[:, None], targets, percentages=[20, 60]
        )
        assert torch.equal(survived, as_images)
    assert ((survived >= 0) & (survived <= 1)).all()


def test_regions(case: Any) -> None:
    _, _, maps, _ = case
    regions = maps > 0.3
    as_images = (4, -1, maps.shape[-1])
    for metric in (energy_inside, pointing_game, relevance_rank_accuracy):
        found = metric(maps, regions)
        assert torch.equal(found, metric(maps.reshape(as_images), regions.reshape(as_images)))
        assert torch.equal(found, metric(maps.numpy(), regions.numpy()))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a distance is of images"):
        pointing_game(maps, regions, tolerance=2)


def test_arrays_are_tensors() -> None:
    maps = torch.rand(3, 5, 6)
    assert torch.equal(gini(maps.numpy()), gini(maps))  # type: ignore[arg-type]
    assert torch.equal(heat_quantization(maps.numpy()), heat_quantization(maps))  # type: ignore[arg-type]


def test_arrays_in_every_metric_and_target() -> None:
    maps, others, start = torch.rand(3, 5, 6), torch.rand(3, 5, 6), torch.rand(3) + 1
    assert torch.equal(conservation_gap(maps.numpy(), start.numpy()), conservation_gap(maps, start))  # type: ignore[arg-type]
    assert torch.equal(rank_correlation(maps.numpy(), others.numpy()), rank_correlation(maps, others))  # type: ignore[arg-type]
    dense, mirrored = torch.randn(3, 4, 5, 6), (maps > 0.3).numpy()[:, ::-1]
    assert torch.equal(Pixels(1, mask=mirrored)(dense), Pixels(1, mask=(maps > 0.3).flip(1))(dense))
    embeddings, vector = torch.randn(3, 6), torch.randn(6)
    assert torch.equal(Likeness(vector.numpy())(embeddings), Likeness(vector)(embeddings))  # type: ignore[arg-type]
    places = torch.tensor([2, 0, 1])
    assert torch.equal(Value(places.numpy())(embeddings), Value(places)(embeddings))  # type: ignore[arg-type]
    logits = torch.randn(3, 4, 5)
    found = NextToken(places.numpy()[::-1], places.numpy())(logits)  # type: ignore[arg-type]
    assert torch.equal(found, NextToken(places.flip(0), places)(logits))


def test_a_mirrored_array_and_one_of_another_byte_order_are_tensors() -> None:
    maps = torch.rand(3, 5, 6, dtype=torch.float64)
    mirrored, other = maps.numpy()[:, ::-1], maps.numpy().astype(">f8")
    assert torch.equal(heat_quantization(mirrored), heat_quantization(maps.flip(1)))  # type: ignore[arg-type]
    assert torch.equal(heat_quantization(other), heat_quantization(maps))  # type: ignore[arg-type]


def test_what_does_not_fit_is_one_line(case: Any) -> None:
    model, x, maps, targets = case
    for options, arguments, words in (
        ({"patch": 2, "baseline": "mean"}, (x, maps, targets), "patches are of images"),
        ({"baseline": "black"}, (x, maps, targets), "2 channels but mean and std have 3"),
        ({"baseline": "mean"}, (x, maps[:, :-1], targets), "maps have shape .* but the inputs .* need"),
        ({"baseline": "mean"}, (x / 0, maps, targets), "NaN or infinite"),
        ({"baseline": "mean"}, (x, np.array(["a"] * 4), targets), "must be a tensor or an array"),
    ):
        metric = InsertionDeletion(model, "strict", **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=words) as error:
            metric.update(*arguments)
        assert "\n" not in str(error.value)


class OfSteps(nn.Module):
    """A network of a sequence (N, T, D) whose steps have positions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding.from_pretrained(torch.arange(600.0)[:, None] / 600)

    def forward(self, steps: Tensor, at: "Tensor | None" = None) -> Tensor:
        values = steps if at is None else steps + self.positions(at).to(steps)
        return values.tanh().mean(1)[:, :2]


def test_as_many_channels_as_places_may_be_a_signal_or_a_sequence() -> None:
    steps, maps, targets = torch.rand(2, 5, 5), torch.rand(2, 5), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"inputs \(2, 5, 5\) may be signals \(N, C, L\) or sequences") as error:
        flipping_area(OfSteps(), steps, maps, targets, steps=5)
    assert "\n" not in str(error.value)


class Placed(nn.Module):
    """The same network at places of its own."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.steps, self.at = OfSteps(), at

    def forward(self, steps: Tensor) -> Tensor:
        return self.steps(steps, self.at.expand(len(steps), -1))


def test_integers_handed_on_stay_exact_in_half_precision() -> None:
    steps, maps, places = torch.rand(2, 5, 3).bfloat16(), torch.rand(2, 5), 257 + 7 * torch.arange(10).reshape(2, 5)
    found = flipping_area(OfSteps(), steps, maps, 0, steps=5, forward_kwargs={"at": places})
    for row in (0, 1):
        alone = flipping_area(Placed(places[row]), steps[row : row + 1], maps[row : row + 1], 0, steps=5)
        assert found[row] == alone[0]
