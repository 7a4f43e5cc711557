"""RISE (Petsiuk et al., BMVC 2018)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.image_seed import image_seed
from relsplit.networks.answer import Answer, Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import Precision, check_precision, inference_copy
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import Call, SharedNetwork
from relsplit.options import Count, Limits, Seed, checked_options
from relsplit.targets.target import Target

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""How masks are upsampled, by the number of axes of places."""


@checked_options
class RISE:
    """Mean of random masks, weighted by the probability that the masked input gets.

    A mask is a coarse grid of zeros and ones, upsampled linearly and cut out at a random offset of less than a cell.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import RISE
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(RISE(model, samples=16).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

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
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

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
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
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

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Maps of the inputs' places, in units of the score: about its mean where the place is visible.

        Of images (N, H, W), of signals (N, L), of volumes (N, D, H, W), of tokens (N, T), whose vectors are masked, of
        tables (N, F); of several inputs one map each. The score is the class's probability, or what a target that is a
        function says.
        """
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            check_precision(self._precision, call.inputs.tensors[0].device)
            if callable(call.explained) or not call.is_of_images:
                return self._of_anything(call)
            answer = call.answer()
            network = inference_copy(call.network, self._precision, (call.images, answer.output))
            classes = answer.classes(call.explained).tolist()
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

    def _of_anything(self, call: Call) -> Any:
        """All samples at once, a mask of each after another: a target may say something else of each."""
        score = call.by_sample("probability")
        values = [_channels_second(value, table) for value, table in zip(call.values, call.tables, strict=True)]
        drawn = [[self._masks(sample, per_pass=1) for sample in value] for value in values]
        totals = [torch.zeros_like(value[:, 0]) for value in values]
        for _ in range(self._samples):
            masks = [torch.cat([next(each) for each in of_value]) for of_value in drawn]
            masked = [value * mask.unsqueeze(1) for value, mask in zip(values, masks, strict=True)]
            found = score([
                each.transpose(1, 2) if table is not None else each.reshape(value.shape)
                for each, value, table in zip(masked, call.values, call.tables, strict=True)
            ])  # fmt: skip
            for total, mask in zip(totals, masks, strict=True):
                total += found.to(total).reshape(-1, *[1] * (mask.dim() - 1)) * mask
        return call.arranged([total / (self._samples * self._keep) for total in totals], by=lambda of_tokens: of_tokens)

    def _masks(self, sample: Tensor, per_pass: int | None = None) -> Iterator[Tensor]:
        """Batches of masks (B, ...) in [0, 1]; the random numbers do not depend on the size of the batches."""
        places = sample.shape[1:]
        if per_pass is None:
            per_pass = images_per_pass(self._batch_size, sample.device, places.numel(), self._precision)
        if len(places) not in _MODES:
            raise InputError(f"rise masks places along one to three axes, not those of inputs {tuple(sample.shape)}")
        cell = [-(-side // self._cells) for side in places]
        size = [(self._cells + 1) * side for side in cell]
        generator = torch.Generator().manual_seed(image_seed(sample, self._seed))
        # In float64, so that inputs in float32 and float64 get the same masks.
        visible = torch.rand(self._samples, *[self._cells] * len(places), generator=generator, dtype=torch.float64)
        grids = (visible < self._keep).to(sample)
        offsets = torch.stack([torch.randint(side, (self._samples,), generator=generator) for side in cell], dim=1)
        for grid, offset in zip(grids.split(per_pass), offsets.split(per_pass), strict=True):
            masks = F.interpolate(grid[:, None], size=size, mode=_MODES[len(places)], align_corners=False)[:, 0]
            cut = [
                mask[tuple(slice(start, start + side) for start, side in zip(starts, places, strict=True))]
                for mask, starts in zip(masks, offset.tolist(), strict=True)
            ]
            yield torch.stack(cut)


def _channels_second(value: Tensor, table: Tensor | None) -> Tensor:
    """Return a value as (N, C, ...): of the vectors of tokens (N, D, T), of a table (N, 1, F)."""
    if table is not None:
        return value.transpose(1, 2)
    return value.unsqueeze(1) if value.dim() == 2 else value
