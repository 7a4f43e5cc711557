"""How far a map moves when the image hardly does."""

import zlib

import torch
from torch import Tensor

from reslrp.errors import InputError
from reslrp.metrics.explain import Explain
from reslrp.metrics.inputs import check_finite, check_images
from reslrp.metrics.sample_mean import SampleMean


def max_sensitivity(
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    *,
    radius: float = 0.02,
    num_perturbations: int = 10,
    seed: int = 42,
) -> Tensor:
    """Largest relative change (N,) >= 0 of the map over random perturbations of the image.

    max over x' of |map(x') - map(x)| / |map(x)| in the Frobenius norm, with x' - x uniform in [-radius, radius] in the
    units of the normalised image: Yeh et al. 2019, Definition 3.1, estimated by sampling and normalised as in captum.
    The perturbations of an image follow from its own content and `seed`, so neither batch nor order plays a part.
    A map of zeros scores 0 if it stays zero and infinity if it does not.
    """
    check_images(images)
    if radius <= 0 or num_perturbations < 1:
        raise InputError(f"radius={radius} and num_perturbations={num_perturbations} must be positive")
    maps = _explain(explain, images, targets)
    generators = [_generator(image, seed) for image in images]
    largest = torch.zeros(len(images), dtype=torch.float64, device=maps.device)
    for _ in range(num_perturbations):
        noise = torch.stack([torch.rand(images.shape[1:], generator=g, dtype=torch.float64) for g in generators])
        moved = _explain(explain, images + ((2 * noise - 1) * radius).to(images), targets)
        largest = torch.maximum(largest, (moved - maps).norm(dim=1))
    size = maps.norm(dim=1)
    return torch.where(largest > 0, largest / size, largest)


class MaxSensitivity(SampleMean):
    """Mean max-sensitivity, see `max_sensitivity`."""

    higher_is_better = False

    def __init__(self, explain: Explain, radius: float = 0.02, num_perturbations: int = 10, seed: int = 42) -> None:
        super().__init__()
        self.explain = explain
        self.radius = radius
        self.num_perturbations = num_perturbations
        self.seed = seed

    def update(self, images: Tensor, targets: Tensor) -> None:
        self.add(
            max_sensitivity(
                self.explain,
                images,
                targets,
                radius=self.radius,
                num_perturbations=self.num_perturbations,
                seed=self.seed,
            )
        )


@torch.enable_grad()  # torchmetrics switches gradients off in update
def _explain(explain: Explain, images: Tensor, targets: Tensor) -> Tensor:
    return check_finite(explain(images, targets).detach()).double().flatten(1)


def _generator(image: Tensor, seed: int) -> torch.Generator:
    # One 32-bit number from both: torch's CPU generator ignores the upper half of a longer seed.
    return torch.Generator().manual_seed(zlib.crc32(image.detach().cpu().contiguous().numpy().tobytes(), seed))
