"""RISE (Petsiuk et al., BMVC 2018)."""

from collections.abc import Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.explainers.shared.image_seed import image_seed
from relsplit.networks.answer import Answer, Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import Precision, check_precision, inference_copy
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import Count, Limits, Seed, checked_options


@checked_options
class RISE:
    """Mean of random masks, weighted by the probability that the masked image gets.

    A mask is a coarse grid of zeros and ones, upsampled bilinearly and cut out at a random offset of less than a cell.

    Args:
        model: any network; it is only run forward.
        samples: masks per image (RISE's paper: 8000 for ResNet50 at 224x224).
        cells: grid cells along each side (RISE's paper: 7; its code: 8).
        keep: probability of a cell to be visible (RISE's paper: 0.5).
        batch_size: masked images per forward pass, None to let the device decide; changes memory and speed, not the
            result.
        seed: another seed draws other masks; every image has its own.
        precision: of the network that reads the masked images; fp16 is for GPUs.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

    Raises:
        InputError: fewer than one sample, cell or image per pass, or ``keep`` not between 0 and 1.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Annotated[int, Limits(minimum=1, maximum=1_000_000)] = 500,
        cells: Annotated[int, Limits(minimum=1, maximum=1_000)] = 8,
        keep: Annotated[float, Limits(above=0, below=1)] = 0.5,
        batch_size: Count | None = None,
        seed: Seed = 42,
        precision: Precision = "fp32",
        scores: Scores = "auto",
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._samples = samples
        self._cells = cells
        self._keep = keep
        self._batch_size = batch_size
        self._seed = seed
        self._precision: Precision = precision

    @property
    def forward_equivalents(self) -> float:
        """One forward pass for each mask."""
        return float(self._samples)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, H, W), in units of the probability: about the mean probability where the pixel is visible."""
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(images)
            check_precision(self._precision, images.device)
            answer = call.answer()
            network = inference_copy(call.network, self._precision, (call.images, answer.output))
            classes = answer.classes(target).tolist()
            return torch.stack(
                [self._explain(network, answer, image, c) for image, c in zip(call.images, classes, strict=True)]
            )

    def _explain(self, network: nn.Module, answer: Answer, image: Tensor, target: int) -> Tensor:
        total = torch.zeros_like(image[0])
        for masks in self._masks(image):
            masked = image * masks[:, None]
            if self._precision == "fp32":  # otherwise the copy does it as it rounds
                masked = masked.contiguous(memory_format=torch.channels_last)
            probabilities = answer.like(network(masked)).probabilities[:, target]
            total += (probabilities[:, None, None] * masks).sum(dim=0)
        return total / (self._samples * self._keep)

    def _masks(self, image: Tensor) -> Iterator[Tensor]:
        """Batches of masks (B, H, W) in [0, 1]; the random numbers do not depend on the size of the batches."""
        height, width = image.shape[-2:]
        cell = (-(-height // self._cells), -(-width // self._cells))
        size = [(self._cells + 1) * side for side in cell]
        generator = torch.Generator().manual_seed(image_seed(image, self._seed))
        # In float64, so that images in float32 and float64 get the same masks.
        visible = torch.rand(self._samples, self._cells, self._cells, generator=generator, dtype=torch.float64)
        grids = (visible < self._keep).to(image)
        per_pass = images_per_pass(self._batch_size, image.device, image.shape[-2:].numel(), self._precision)
        offsets = torch.stack([torch.randint(side, (self._samples,), generator=generator) for side in cell], dim=1)
        for grid, offset in zip(grids.split(per_pass), offsets.split(per_pass), strict=True):
            masks = F.interpolate(grid[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            cut = [m[y : y + height, x : x + width] for m, (y, x) in zip(masks, offset.tolist(), strict=True)]
            yield torch.stack(cut)
