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
