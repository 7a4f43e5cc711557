"""Standard errors and paired intervals, against closed forms and against what pairing is for."""

import numpy as np
import pytest

from relsplit.bench.runs.statistics import paired_bootstrap, standard_deviation, standard_error
from relsplit.errors import InputError


def test_standard_error_by_hand() -> None:
    assert standard_error(np.array([1.0, 2.0, 3.0, 6.0])) == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / 3 / 4))
    assert standard_deviation(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2))
    assert np.isnan(standard_error(np.array([1.0])))


def test_interval_agrees_with_the_normal_approximation() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.normal(0.5, 0.2, 400), draw.normal(0.4, 0.1, 400)
    interval = paired_bootstrap(a, b)
    error = standard_error(a - b)
    assert interval.difference == pytest.approx((a - b).mean())
    assert interval.low == pytest.approx(interval.difference - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(interval.difference + 1.96 * error, abs=0.15 * error)
    assert interval.low > 0 or interval.high < 0


def test_pairing_removes_what_the_samples_share() -> None:
    draw = np.random.default_rng(2)
    difficulty = draw.normal(0, 1, 50)
    interval = paired_bootstrap(difficulty + 0.01, difficulty + draw.normal(0, 1e-3, 50))
    assert interval.low > 0 or interval.high < 0
    assert interval.high - interval.low < 0.002


def test_coverage_of_the_interval() -> None:
    draw = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        a = draw.normal(0.1, 0.3, 40)
        interval = paired_bootstrap(a, np.zeros(40), level=0.9, resamples=400, seed=seed)
        covered += interval.low <= 0.1 <= interval.high
    assert 0.82 <= covered / 200 <= 0.95


def test_equal_methods_differ_by_nothing_and_the_seed_decides_the_rest() -> None:
    scores = np.random.default_rng(4).random(30)
    assert paired_bootstrap(scores, scores) == paired_bootstrap(scores, scores, seed=9)
    same = paired_bootstrap(scores, scores)
    assert same.low <= 0 <= same.high
    other = scores[::-1].copy()
    assert paired_bootstrap(scores, other, seed=1) == paired_bootstrap(scores, other, seed=1)
    assert paired_bootstrap(scores, other, seed=1) != paired_bootstrap(scores, other, seed=2)


def test_different_samples_are_refused() -> None:
    with pytest.raises(InputError, match="same samples"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="same samples"):
        paired_bootstrap(np.zeros(0), np.zeros(0))
