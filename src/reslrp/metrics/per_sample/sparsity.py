"""Column ``gini``: how few pixels carry the attribution."""

from torch import Tensor

from reslrp.metrics.per_sample.explained_batch import ExplainedBatch
from reslrp.metrics.sparsity import gini


class Sparsity:
    """Gini index of the scored map, see :func:`reslrp.metrics.sparsity.gini`."""

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        return {"gini": gini(batch.maps)}
