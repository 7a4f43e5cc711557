"""Columns ``rank_correlation_<stage>``: does the map change when the network's weights become random?"""

from torch import Tensor

from reslrp.metrics.per_sample.explained_batch import ExplainedBatch
from reslrp.metrics.randomisation import randomisation_correlation


class Randomisation:
    """Spearman correlation of the map with that of the network randomised from the output down to each stage.

    See :func:`reslrp.metrics.randomisation.randomisation_correlation`; each sample is explained once more per stage.
    A map that stays near 1 does not depend on the weights.
    """

    def __init__(self, seed: int = 42) -> None:
        self.seed = seed

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        found = randomisation_correlation(
            batch.network, batch.explain_with, batch.images, batch.targets, self.seed, original=batch.maps
        )
        return {f"rank_correlation_{stage}": values for stage, values in found.items()}
