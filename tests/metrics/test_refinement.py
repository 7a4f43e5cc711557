"""Refined curves: estimates are unbiased, errors stay within their bounds, and nothing is evaluated twice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_score_curves import Counting, random_batch, score, tiny_cnn

from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.protocols.levels import Levels
from relsplit.metrics.insertion_deletion.protocols.nominal import Published, Strict
from relsplit.metrics.insertion_deletion.refinement import FAILURE, RefinedCurve, error_bound

POINTS = 101
UNIFORM = np.linspace(0, 1, POINTS)
NOISE = np.random.default_rng(0)
CURVES = {
    "line": UNIFORM,
    "step": (UNIFORM > 0.437) * 1.0,
    "spike between the first points": (np.arange(POINTS) == 55) * 1.0,
    "zero at the first points, else one": (np.arange(POINTS) % 10 != 0) * 1.0,
    "alternating": (np.arange(POINTS) % 2) * 1.0,
    "coin flips": NOISE.integers(0, 2, POINTS) * 1.0,
    "noise": NOISE.random(POINTS),
    "sigmoid with ripples": 0.9 / (1 + np.exp(30 * (0.4 - UNIFORM))) + 0.05 * np.sin(40 * UNIFORM) ** 2,
}


def refine(fraction, probability, tolerance, draws):
    """Return the curve, evaluated, and the number of rounds."""
    curve, rounds = RefinedCurve(fraction, draws, tolerance), 0
    while len(curve.wanted):
        assert np.isnan(curve.probability[curve.wanted]).all()  # nothing is asked for twice
        curve.take(probability[curve.wanted])
        rounds += 1
    return curve, rounds


def whole_area(fraction, probability):
    return float(np.sum(np.diff(fraction) * (probability[1:] + probability[:-1]) / 2))


@pytest.mark.parametrize("tolerance", [0.01, 0.1, 0.9])
@pytest.mark.parametrize("name", CURVES)
def test_the_expected_estimate_is_the_area_exactly(name, tolerance):
    # Gaps hold 9, 4, 2 or 1 points of equal weight: 36 evenly spaced draws take each of them equally often.
    everything = [
        refine(UNIFORM, CURVES[name], tolerance, np.full(POINTS, (draw + 0.5) / 36))[0].area() for draw in range(36)
    ]
    assert np.mean(everything) == pytest.approx(whole_area(UNIFORM, CURVES[name]), abs=1e-12)


def test_the_expected_estimate_is_the_area_at_uneven_positions():
    random = np.random.default_rng(1)
    fraction = np.concatenate([[0.0], np.sort(random.random(60) ** 3), [1.0]])
    probability = random.random(62)
    found = np.array([refine(fraction, probability, 0.05, random.random(62))[0].area() for _ in range(4000)])
    expected = whole_area(fraction, probability)
    assert found.std() > 1e-3
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(len(found))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(2, 130),
    tolerance=st.floats(1e-4, 0.5),
    power=st.sampled_from([0.2, 1, 5, 40]),
    falling=st.booleans(),
)
def test_a_monotone_curve_misses_its_area_by_no_more_than_the_tolerance(seed, points, tolerance, power, falling):
    random = np.random.default_rng(seed)
    fraction = np.concatenate([[0.0], np.sort(random.random(points - 2)), [1.0]])
    steps = random.random(points) ** power
    probability = np.cumsum(steps) / steps.sum()
    probability = probability[::-1] if falling else probability
    curve, _ = refine(fraction, probability, tolerance, random.random(points))
    assert abs(curve.area() - whole_area(fraction, probability)) <= tolerance + 1e-12


@pytest.mark.parametrize("name", CURVES)
def test_errors_stay_within_the_bound(name):
    samples, repetitions, whole = 8, 150, whole_area(UNIFORM, CURVES[name])
    random = np.random.default_rng(2)
    missed = 0
    for _ in range(repetitions):
        curves = [refine(UNIFORM, CURVES[name], 0.05, random.random(POINTS))[0] for _ in range(samples)]
        error = np.mean([curve.area() for curve in curves]) - whole
        missed += abs(error) > error_bound(np.concatenate([curve.checks() for curve in curves]), samples)
    assert missed <= FAILURE * repetitions


def test_the_bound_of_many_samples_is_small_and_grows_with_the_residuals():
    weight = np.full(20_000, 0.09)
    bounds = [error_bound(np.stack([weight, np.full(20_000, r)], axis=1), 1000) for r in (0.0, 0.01, 0.1, 1.0)]
    assert bounds == sorted(bounds)
    assert bounds[0] == pytest.approx(np.log(2 * 4 / FAILURE) * 0.09 / 0.8 / 1000)
    assert bounds[1] < 0.001
    assert error_bound(np.empty((0, 2)), 1000) == 0


def test_a_flat_curve_costs_its_first_points_and_one_of_each_gap():
    curve, rounds = refine(UNIFORM, np.full(POINTS, 0.3), 0.02, np.zeros(POINTS))
    assert (np.isfinite(curve.probability).sum(), rounds) == (11 + 10, 2)
    assert curve.area() == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("protocol", [Strict(step=1), Levels(), Strict(step=1, ties="together")])
def test_a_tiny_tolerance_is_the_whole_curve(protocol):
    model, batch = tiny_cnn(), random_batch(3)
    whole, refined = (score(model, batch, {"": protocol}, tolerance=tolerance)[""] for tolerance in (None, 1e-300))
    assert torch.equal(refined.insertion, whole.insertion)
    assert torch.equal(refined.deletion, whole.deletion)
    for first, second in zip(whole.curves, refined.curves, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert whole.checks is None
    assert refined.checks is not None
    assert all(len(checks.insertion) == len(checks.deletion) == 0 for checks in refined.checks)


def test_a_protocol_that_is_always_whole_is_whole():
    model, batch = tiny_cnn(), random_batch(3)
    protocols = {"published": Published(step=1), "strict": Strict(step=1)}
    whole, refined = (score(model, batch, protocols, tolerance=tolerance) for tolerance in (None, 0.05))
    assert torch.equal(refined["published"].id_score, whole["published"].id_score)
    assert refined["published"].checks is None
    assert refined["strict"].checks is not None
    assert not torch.equal(refined["strict"].id_score, whole["strict"].id_score)


def test_a_network_is_estimated_without_bias_and_within_the_bound():
    model, batch = tiny_cnn(), random_batch(6)
    whole = score(model, batch, {"": Strict(step=1)})[""].id_score
    errors, missed = [], 0
    for seed in range(150):
        found = score(model, batch, {"": Strict(step=1)}, tolerance=0.1, seed=seed, batch_size=512)[""]
        errors.append(found.id_score - whole)
        checks = np.concatenate([check for both in found.checks or [] for check in both])
        missed += abs(errors[-1].mean().item()) > error_bound(checks, 6)
    each = torch.stack(errors)
    assert (each.mean(0).abs() < 4.5 * each.std(0) / len(each) ** 0.5).all()
    assert each.std() > 1e-4
    assert missed <= FAILURE * len(each)


def test_a_sample_is_refined_alike_in_any_batch():
    model, batch = tiny_cnn(), random_batch(5)
    protocols = {"strict": Strict(step=1), "levels": Levels()}
    expected = score(model, batch, protocols, tolerance=0.05)
    order = torch.tensor([3, 0, 4, 2, 1])
    permuted = score(model, tuple(part[order] for part in batch), protocols, tolerance=0.05, batch_size=7)
    alone = [
        score(model, tuple(part[i : i + 1] for part in batch), protocols, tolerance=0.05, batch_size=1)
        for i in range(5)
    ]
    for name in protocols:
        torch.testing.assert_close(permuted[name].id_score, expected[name].id_score[order], rtol=0, atol=1e-14)
        single = torch.cat([scores[name].id_score for scores in alone])
        torch.testing.assert_close(single, expected[name].id_score, rtol=0, atol=1e-14)


def test_another_seed_draws_other_points():
    model, batch = tiny_cnn(), random_batch(2)
    first, same, other = (
        score(model, batch, {"": Strict(step=1)}, tolerance=0.2, seed=seed)[""].id_score for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_no_masked_image_passes_twice():
    batch = random_batch(3, size=(16, 16), levels=4)
    protocols = {"together": Strict(step=2, ties="together"), "strict": Strict(step=2), "levels": Levels()}
    passes = []
    for tolerance in (None, 0.001, 0.05):
        counting = Counting(tiny_cnn())
        score(counting, batch, protocols, tolerance=tolerance)
        passes.append(sum(counting.batches))
    assert passes[0] >= passes[1] > passes[2]
    assert passes[2] < 0.6 * passes[0]


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, float("nan"), "abc", True])
def test_a_tolerance_out_of_range_is_refused(tolerance):
    with pytest.raises(InputError, match=r"tolerance must be a finite number above 0 and below 1"):
        score(tiny_cnn(), random_batch(1), {"": Strict()}, tolerance=tolerance)
