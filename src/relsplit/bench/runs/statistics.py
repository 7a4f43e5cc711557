"""How sure a mean is, and whether two methods differ on the same samples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relsplit.errors import InputError

_CHUNK = 500  # resamples drawn at once: keeps the memory of 10,000 resamples of 1,000 samples at a few megabytes

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean paired difference with its bootstrap confidence interval.

    Attributes:
        difference: mean of ``a - b`` over the samples.
        low: lower end of the interval.
        high: upper end of the interval.
        level: probability that the interval is meant to cover, in (0, 1).
    """

    difference: float
    low: float
    high: float
    level: float


def standard_error(values: Values) -> float:
    """Return the standard error of the mean, sample standard deviation / sqrt(n).

    NaN for fewer than two values, and where it exceeds float64.
    """
    with np.errstate(over="ignore"):  # sums of the published LRP-epsilon reach 1e180
        error = standard_deviation(values) / float(np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return error if np.isfinite(error) else float("nan")


def standard_deviation(values: Values) -> float:
    """Return the sample standard deviation (n - 1 in the denominator); NaN for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def paired_bootstrap(a: Values, b: Values, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean difference between two methods on the same samples.

    The samples are drawn with replacement and both methods keep their own sample's score, so what the samples have in
    common (an easy image is easy for every method) cancels.

    Args:
        a: scores of the first method, shape (n,).
        b: scores of the second method on the same samples in the same order, shape (n,).
        level: coverage of the interval, in (0, 1).
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Raises:
        InputError: the two differ in length, or are empty.
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise InputError(f"a paired comparison needs the same samples, got shapes {a.shape} and {b.shape}")
    difference = np.asarray(a - b, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        drawn = generator.integers(len(difference), size=(count, len(difference)))
        means[start : start + count] = difference[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference.mean()), float(low), float(high), level)
