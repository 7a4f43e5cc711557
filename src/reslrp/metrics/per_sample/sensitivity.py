"""Column ``max_sensitivity``: how far the map moves when the image hardly does."""

from torch import Tensor

from reslrp.errors import InputError
from reslrp.metrics.per_sample.explained_batch import ExplainedBatch
from reslrp.metrics.sensitivity import max_sensitivity


class Sensitivity:
    """Largest relative change of the map, see :func:`reslrp.metrics.sensitivity.max_sensitivity`.

    Each sample is explained ``num_perturbations`` + 1 times more.

    Raises:
        InputError: ``radius`` or ``num_perturbations`` is not positive.
    """

    def __init__(self, radius: float = 0.02, num_perturbations: int = 10, seed: int = 42) -> None:
        if radius <= 0 or num_perturbations < 1:
            raise InputError(f"radius={radius} and num_perturbations={num_perturbations} must be positive")
        self.radius = radius
        self.num_perturbations = num_perturbations
        self.seed = seed

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        values = max_sensitivity(
            batch.explain_with(batch.network),
            batch.images,
            batch.targets,
            radius=self.radius,
            num_perturbations=self.num_perturbations,
            seed=self.seed,
        )
        # A map of zeros that does not stay zero has no relative change.
        return {"max_sensitivity": values.masked_fill(values.isinf(), float("nan"))}
