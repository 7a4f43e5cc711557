"""Curves that are evaluated where they change, unbiased estimates of their areas, and a bound on their mean error.

Between two evaluated points a probability may do anything, so what is left out of a single curve cannot be bounded.
What an evaluation reports is a mean over many samples, and that can: one point of every gap is drawn at random.
"""

import math
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from relsplit.options import Limits

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Tolerance = Annotated[float, Limits(above=0, below=1)]
"""Of the area under a curve, which lies in [0, 1]; see :class:`RefinedCurve`."""

FAILURE = 0.05
"""How probable it is, at most, that an error exceeds its bound."""

_PARTS = 10
_RATES = (0.8, 0.4, 0.2, 0.1)


class Checks(NamedTuple):
    """The gaps of one sample's curves, of which a random point each was evaluated.

    Attributes:
        insertion: (G, 2) float64; of every gap of the insertion curve its weight in the area, in (0, 1), and its
            residual, in [-1, 1]: the probability at the random point minus the interpolation there.
        deletion: the same of the deletion curve, with its own G.
    """

    insertion: Values
    deletion: Values


class RefinedCurve:
    """One curve over P points that is evaluated in rounds: :attr:`wanted` says where, :meth:`take` takes the result.

    The area under the whole curve is the sum of its P probabilities with the weights of the trapezoid rule. Evaluated
    are

    1. both ends, and the points nearest to every tenth of the x axis;
    2. the middles of gaps, those of the largest products first, until the products of the others sum to no more than
       the tolerance: the weight of the gap's inner points times the difference between the gap's two ends;
    3. of every gap that is left one inner point, drawn with probability in proportion to its weight.

    The estimate is the area under the interpolation of 1 and 2, plus weight times residual (see :class:`Checks`) of
    every gap. Its expectation over the draws is the area under the whole curve, whatever the curve does. It may lie
    outside [0, 1]. Where the curve is monotone within every gap, it misses the area by no more than the tolerance,
    whatever is drawn: curve and interpolation then rise by no more than the difference d of the gap's ends, both in the
    same direction, so two residuals of the gap differ by no more than d.

    Args:
        fraction: (P,) ascending positions in [0, 1].
        draws: (P,) independent uniform numbers in [0, 1): the draw of the gap that begins at each point.
        tolerance: see above; None wants every point, in one round.
    """

    def __init__(self, fraction: Values, draws: Values, tolerance: float | None) -> None:
        self.fraction = fraction
        self.probability: Values = np.full(len(fraction), np.nan)
        """(P,) in [0, 1]; NaN at points that were not evaluated."""
        self.wanted: Indices = np.arange(len(fraction))
        """Points to evaluate next, ascending; none when the curve is done."""
        if tolerance is not None:
            positions = np.linspace(fraction[0], fraction[-1], _PARTS + 1)
            self.wanted = np.unique(np.abs(fraction[:, None] - positions).argmin(axis=0))
        self._tolerance = tolerance or 0.0
        self._draws = draws
        spacing = np.diff(fraction, prepend=fraction[0], append=fraction[-1])
        self._before: Values = np.concatenate([[0.0], np.cumsum((spacing[:-1] + spacing[1:]) / 2)])
        self._corners: Indices = np.empty(0, dtype=np.int64)
        self._checked: Indices | None = None

    def take(self, probability: Values) -> None:
        """Take the probabilities of the points that were wanted, and say which are wanted next."""
        self.probability[self.wanted] = probability
        if self._checked is not None:
            self.wanted = self._checked[:0]
            return
        self._corners = np.union1d(self._corners, self.wanted)
        self.wanted = self._middles()
        if not len(self.wanted):
            self.wanted = self._checked = self._random_points()

    def area(self) -> float:
        """Return the estimate; where every point was evaluated it is the area under the whole curve."""
        corners = torch.from_numpy(self.probability[self._corners]), torch.from_numpy(self.fraction[self._corners])
        return float(torch.trapezoid(*corners)) + float(self.checks().prod(axis=1).sum())

    def checks(self) -> Values:
        """Return weight and residual of every gap, (G, 2)."""
        left, right, weight = self._gaps()
        checked = self._random_points()
        share = (self.fraction[checked] - self.fraction[left]) / (self.fraction[right] - self.fraction[left])
        straight = self.probability[left] * (1 - share) + self.probability[right] * share
        return np.stack([weight, self.probability[checked] - straight], axis=1)

    def _gaps(self) -> tuple[Indices, Indices, Values]:
        """The ends of the gaps, corners with other points between them, and the weight of these points."""
        left, right = self._corners[:-1], self._corners[1:]
        is_gap = right - left > 1
        left, right = left[is_gap], right[is_gap]
        return left, right, self._before[right] - self._before[left + 1]

    def _middles(self) -> Indices:
        """Where gaps are to be divided."""
        left, right, weight = self._gaps()
        product = np.abs(self.probability[right] - self.probability[left]) * weight
        order = np.argsort(-product, kind="stable")
        others = np.cumsum(product[order][::-1])[::-1]  # from each gap on, itself included
        divided = np.sort(order[others > self._tolerance])
        left, right = left[divided], right[divided]
        middle = (self.fraction[left] + self.fraction[right]) / 2
        above = np.searchsorted(self.fraction, middle).clip(left + 1, right - 1)
        below = (above - 1).clip(left + 1)
        is_nearer = middle - self.fraction[below] <= self.fraction[above] - middle
        return np.where(is_nearer, below, above)

    def _random_points(self) -> Indices:
        left, right, weight = self._gaps()
        reached = self._before[left + 1] + self._draws[left] * weight
        return np.searchsorted(self._before[1:], reached, side="right").clip(left + 1, right - 1)


def error_bound(checks: Values, samples: int) -> float:
    """Bound the error of a mean of estimated areas with probability 1 - :data:`FAILURE`.

    With probability of at least 95 % over the draws, the mean of the ``samples`` estimates differs from the mean of the
    areas under the whole curves by no more than the bound. That rests on the draws being independent, and on nothing
    about the curves but that they lie in [0, 1]; it says nothing about other samples than these.

    Gap j contributes the independent error X_j - E X_j, X_j = W_j r_j of weight and residual, |X_j| <= W_j. Since
    exp(l x - psi(l) x^2) <= 1 + l x for x >= -1, 0 <= l < 1 and psi(l) = -log(1 - l) - l (Fan, Grama and Liu 2015,
    Exponential inequalities for martingales with applications, EJP 20; used in the same way by Howard et al. 2021,
    Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49), the expectation of
    exp(sum of l (X_j - E X_j) - psi(l W_j) r_j^2) is at most 1 for every l < 1 / max W, hence by Markov's inequality

        |sum of X_j - E X_j| <= (log(2 / failure) + sum of psi(l W_j) r_j^2) / l

    but for the probability ``failure``. The least of four values of l is taken, each with a fourth of the failure.
    Where residuals are small the bound is 6.3 max W / samples. The one of Maurer and Pontil (2009, Empirical Bernstein
    bounds and sample variance penalization), for the same variables in [-max W, max W], is 20 max W / samples there.

    Args:
        checks: (G, 2) weight and residual of all gaps of all samples' curves; of both curves for the ID score.
        samples: how many samples these are.

    Returns:
        At least 0; 0 without gaps.
    """
    if not len(checks):
        return 0.0
    weight, residual = checks.T
    rates = np.array(_RATES)[:, None] / weight.max()
    variation = ((-np.log1p(-rates * weight) - rates * weight) * residual**2).sum(axis=1)
    bounds = (math.log(2 * len(_RATES) / FAILURE) + variation) / rates[:, 0]
    return float(bounds.min()) / samples
