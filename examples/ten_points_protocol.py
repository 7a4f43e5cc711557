"""Recipe: a protocol of insertion and deletion. ``python examples/ten_points_protocol.py`` uses it on the demo.

In the project this file is ``src/relsplit/metrics/insertion_deletion/protocols/ten_points.py``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from relsplit.baseline import Baseline
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints
from relsplit.options import Count, checked_options


@PROTOCOLS.register("ten_points")
@checked_options
@dataclass(frozen=True)
class TenPoints:
    """Eleven points, from none of the pixels to all, at their true share: a tenth of the published protocol's cost."""

    baseline: Baseline = "black"
    patch: Count = 1

    def points(self, values: Tensor) -> CurvePoints:
        """Return the curve points of one sample from its attribution values (U,), sorted descending."""
        lengths = torch.linspace(0, values.numel(), 11).round().long()
        return CurvePoints(lengths, lengths.double() / values.numel())


if __name__ == "__main__":
    import sys

    from command_line import run

    run("explainer=ours", "protocol=[ten_points,strict]", *sys.argv[1:])
