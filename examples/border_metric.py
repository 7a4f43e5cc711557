"""Recipe: a metric. ``python examples/border_metric.py`` adds its column to an evaluation of the demo.

In the project this file is ``src/relsplit/metrics/border.py``. A metric that explains more images of its own calls
``batch.explain_with(batch.network)``.
"""

from torch import Tensor

from relsplit.metrics import ExplainedBatch
from relsplit.options import Count, checked_options


@checked_options
class Border:
    """Column ``border``: share of the absolute attribution on the outermost pixels, in [0, 1].

    Args:
        width: of the border, in pixels.
    """

    def __init__(self, width: Count = 4) -> None:
        self.width = width

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return (N,) values; NaN where a sample has none."""
        size = batch.maps.abs().double()
        inner = size[:, self.width : -self.width, self.width : -self.width]
        return {"border": 1 - inner.sum((1, 2)) / size.sum((1, 2))}


if __name__ == "__main__":
    import sys

    from command_line import run

    run("explainer=ours", "metric=[border,sparsity]", *sys.argv[1:])
