"""What a summary says of refined curves: how many points were evaluated, and how far the means may be off."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from relsplit.bench.runs.records import SampleCurves
from relsplit.bench.runs.summary import ERROR_BOUND, EVALUATED_POINTS, score_column
from relsplit.metrics.insertion_deletion.refinement import error_bound


def refined_summary(curves: Sequence[SampleCurves], protocols: Sequence[str]) -> dict[str, Any]:
    """Return the entries of a summary for the protocols whose curves were refined.

    Args:
        curves: of all samples under all protocols.
        protocols: in order; the first one's entries bear no suffix.

    Returns:
        For each refined protocol ``insertion_error_bound``, ``deletion_error_bound``, ``id_score_error_bound``, by what
        the mean over these samples may differ from that over whole curves (each with a confidence of 95 %), and
        ``evaluated_points``, the share of the points that were evaluated, in (0, 1]. Nothing for other protocols.
    """
    found: dict[str, Any] = {}
    for protocol in protocols:
        refined = [curve for curve in curves if curve.protocol == protocol and curve.checks is not None]
        if not refined:
            continue
        insertion, deletion = (
            np.array([check for curve in refined for check in (curve.checks or {})[name]]).reshape(-1, 2)
            for name in ("insertion", "deletion")
        )
        both = np.concatenate([insertion, deletion])
        for name, checks in (("insertion", insertion), ("deletion", deletion), ("id_score", both)):
            found[score_column(f"{name}_{ERROR_BOUND}", protocol, protocols)] = error_bound(checks, len(refined))
        points = [probability is not None for curve in refined for probability in (*curve.insertion, *curve.deletion)]
        found[score_column(EVALUATED_POINTS, protocol, protocols)] = sum(points) / len(points)
    return found
