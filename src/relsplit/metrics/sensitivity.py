"""How far a map moves when the image hardly does."""

import torch
from torch import Tensor

from relsplit.checks import checked_batch, finite_maps
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import Explain, ExplainedBatch
from relsplit.metrics.image_generator import image_generator
from relsplit.options import Count, Positive, Seed, checked_options


@checked_options
@torch.enable_grad()  # explainers differentiate, whatever the caller does
def max_sensitivity(
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    *,
    radius: Positive = 0.02,
    num_perturbations: Count = 10,
    seed: Seed = 42,
) -> Tensor:
    """Return the largest relative change of the map over random perturbations of the image.

    max over x' of |map(x') - map(x)| / |map(x)| in the Frobenius norm: Yeh et al. 2019, Definition 3.1, estimated by
    sampling and normalised as in captum. The perturbations of an image follow from its own content and ``seed``, so
    neither batch nor order plays a part.

    Args:
        explain: computes maps.
        images: (N, C, H, W), or signals, volumes, tables in floating point.
        targets: (N,) explained class, or any target that the explainer takes. What such a target chooses by the output
            (a region, a token) it chooses anew each time: give a mask, a token.
        radius: x' - x is uniform in [-radius, radius], in units of the normalised image.
        num_perturbations: how many x' are drawn.
        seed: another seed draws others.

    Returns:
        (N,) float64, at least 0. A map of zeros scores 0 if it stays zero and infinity if it does not.

    Raises:
        InputError: images that cannot be explained, ``radius`` or ``num_perturbations`` that is not positive.
    """
    images = checked_batch(images, "images")
    if not images.is_floating_point():
        raise InputError(
            f"max_sensitivity moves inputs a little, which tokens cannot be; given are {tuple(images.shape)}, "
            f"{images.dtype}"
        )
    maps = _explain(explain, images, targets)
    generators = [image_generator(image, seed) for image in images]
    largest = torch.zeros(len(images), dtype=torch.float64, device=maps.device)
    for _ in range(num_perturbations):
        noise = torch.stack([torch.rand(images.shape[1:], generator=g, dtype=torch.float64) for g in generators])
        moved = _explain(explain, images + ((2 * noise - 1) * radius).to(images), targets)
        largest = torch.maximum(largest, (moved - maps).norm(dim=1))
    size = maps.norm(dim=1)
    return torch.where(largest > 0, largest / size, largest)


@checked_options
class Sensitivity:
    """Column ``max_sensitivity``, see :func:`max_sensitivity`; explains each sample ``num_perturbations`` + 1 times.

    Args:
        radius: of the perturbation, in units of the normalised image.
        num_perturbations: how many are drawn.
        seed: another seed draws others.

    Raises:
        InputError: ``radius`` or ``num_perturbations`` is not positive.
    """

    def __init__(self, radius: Positive = 0.02, num_perturbations: Count = 10, seed: Seed = 42) -> None:
        self.radius = radius
        self.num_perturbations = num_perturbations
        self.seed = seed

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the sensitivity of every sample; NaN for a map of zeros that does not stay zero."""
        values = max_sensitivity(
            batch.explain_with(batch.network),
            batch.images,
            batch.targets,
            radius=self.radius,
            num_perturbations=self.num_perturbations,
            seed=self.seed,
        )
        return {"max_sensitivity": values.masked_fill(values.isinf(), float("nan"))}


def _explain(explain: Explain, images: Tensor, targets: Tensor) -> Tensor:
    return finite_maps(explain(images, targets)).double().flatten(1)
