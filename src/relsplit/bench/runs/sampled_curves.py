"""The curves of a run, brought to common positions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from relsplit.bench.runs.records import SampleCurves

POSITIONS = np.linspace(0, 1, 101)
"""Where curves with different points are brought together (linear interpolation)."""

Curves = npt.NDArray[np.float64]


def sampled_curves(
    measured: Sequence[SampleCurves], protocol: str, order: Sequence[str] | None = None
) -> tuple[Curves, Curves]:
    """Return insertion and deletion curves, each (samples, len(POSITIONS)).

    Args:
        measured: the curves of a run, under any protocols.
        protocol: whose curves.
        order: sample ids in the order that the rows shall have; None keeps the run's.
    """
    by_sample = {curve.sample_id: curve for curve in measured if curve.protocol == protocol}
    chosen = [by_sample[name] for name in (order if order is not None else by_sample)]
    insertion = np.array([np.interp(POSITIONS, *curve.evaluated("insertion")) for curve in chosen])
    deletion = np.array([np.interp(POSITIONS, *curve.evaluated("deletion")) for curve in chosen])
    return insertion, deletion


def from_nothing(insertion: npt.ArrayLike, deletion: npt.ArrayLike) -> tuple[Curves, Curves]:
    """Return the curves with a point before the first: 0 pixels inserted, and 0 pixels deleted.

    The first point of a protocol may show many pixels already (tied ones all at once), so that a picture would begin
    high up. Nothing inserted is everything deleted, which is where the other curve ends, and the other way round.

    Args:
        insertion: (..., P).
        deletion: (..., P).
    """
    inserted, deleted = np.asarray(insertion, dtype=np.float64), np.asarray(deletion, dtype=np.float64)
    ends = deleted[..., -1:], inserted[..., -1:]
    return np.concatenate([ends[0], inserted], axis=-1), np.concatenate([ends[1], deleted], axis=-1)
