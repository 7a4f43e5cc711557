"""How fast the class disappears when the highest pixels are taken away."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from relsplit.baseline import Baseline, BaselineImage
from relsplit.checks import checked_images, checked_maps
from relsplit.metrics.explained_batch import ExplainedBatch
from relsplit.metrics.insertion_deletion.ranking import rank_pixels
from relsplit.metrics.laid_out import laid_out
from relsplit.metrics.order import ordered
from relsplit.networks.answer import AnswerReader, Scores, reader_of
from relsplit.networks.batches import BatchSize, evaluating
from relsplit.networks.explained_values import explained_values, values_in_batches
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Limits, checked_options
from relsplit.targets.target import Target

Steps = Annotated[int, Limits(minimum=2, maximum=100_000)]


@checked_options
def flipping_area(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: "Target | None",
    *,
    steps: Steps = 20,
    baseline: Baseline = "mean",
    forward_kwargs: "Mapping[str, Any] | None" = None,
    scores: Scores | AnswerReader = "auto",
    output: "OutputChoice | None" = None,
) -> Tensor:
    """Return the area under the curve of the class's probability while pixels are replaced by the mean colour.

    Bach et al. 2015, Sec. "Pixel-wise flipping"; as in Quantus, the curve begins after the first step and ends with
    the empty image. The x axis is scaled to length 1.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import flipping_area
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> images, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 3])
        >>> maps = LRP(model).attribute(images, targets).sum(1)
        >>> tuple(flipping_area(model, images, maps, targets).shape)
        (2,)

    Args:
        model: network of normalised images; as it is now.
        images: (N, C, H, W), normalised, so that 0 is the mean colour; or signals (N, C, L), volumes (N, C, D, H, W),
            tables (N, F) or tokens (N, T).
        maps: (N, H, W), (N, L), (N, D, H, W), (N, F) or (N, T); only their order matters, ties in order of pixel index.
        targets: (N,) class whose probability is read, None for the predicted one, or a target of
            :mod:`relsplit.targets`, whose value is read.
        steps: points of the curve; each takes away equally many pixels.
        baseline: what they are replaced with, see :data:`relsplit.baseline.Baseline`.
        forward_kwargs: what the network gets besides, by name; what is of single samples stays with them.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.
        output: which part of it is explained, see :class:`relsplit.LRP`.

    Returns:
        (N,) float64; low is good. Of a probability in [0, 1], of any other target in units of its value.

    Raises:
        InputError: arguments that do not fit together.
    """
    laid = laid_out(model, images, [maps], forward_kwargs)
    model, images, (maps,) = laid.model, checked_images(laid.images), laid.maps
    hidden = laid.baseline(BaselineImage(baseline)).expand_as(images)
    ranks = rank_pixels(checked_maps(ordered(maps), images)).rank
    pixels = ranks[0].numel()
    taken = torch.tensor([round(step * pixels / steps) for step in range(1, steps + 1)], device=images.device)

    def masked(start: int, stop: int) -> Tensor:
        place = torch.arange(start, stop, device=images.device)
        sample, step = place // steps, place % steps
        gone = ranks[sample] < taken[step][:, None, None]
        return torch.where(gone[:, None], hidden[sample], images[sample])

    total, sizes = len(images) * steps, BatchSize(32)
    item = np.arange(total)
    with evaluating(model) as network:
        values = explained_values(network, images, targets, reader_of(scores), output, sizes)
        read = values_in_batches(network, total, masked, sizes, [values], item, item // steps, len(images))
    return torch.trapezoid(torch.from_numpy(read).view(len(images), steps), dx=1 / (steps - 1), dim=1)


@checked_options
class PixelFlipping:
    """Column ``pixel_flipping``, see :func:`flipping_area`; ``steps`` forward passes a sample.

    Args:
        steps: points of the curve.
        baseline: what pixels are replaced with, see :data:`relsplit.baseline.Baseline`.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
    """

    def __init__(self, steps: Steps = 20, baseline: Baseline = "mean", scores: Scores = "auto") -> None:
        self.steps = steps
        self.baseline: Baseline = baseline
        self._reader = AnswerReader(scores)

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the area of every sample."""
        values = flipping_area(
            batch.network, batch.images, batch.maps, batch.targets,
            steps=self.steps, baseline=self.baseline, scores=self._reader,
        )  # fmt: skip
        return {"pixel_flipping": values}
