"""What a further metric of an evaluation may look at, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

Explain = Callable[[Tensor, Tensor], Tensor]
"""What a metric that computes maps itself calls: maps (N, H, W) of images (N, C, H, W) for the classes (N,)."""


@dataclass(frozen=True)
class ExplainedBatch:
    """N samples with their maps.

    Attributes:
        images: (N, 3, H, W), normalised.
        labels: (N,) int64, ground-truth class.
        targets: (N,) int64, explained class.
        maps: (N, H, W), as they are scored.
        relevance_sum: (N,), sum of the attribution before any post-processing.
        probability: (N,), probability of the explained class, in [0, 1].
        boxes: (N, H, W) bool; all False where the sample has none.
        segmentations: see ``boxes``.
        network: the explained network.
        explain_with: makes, of any network of the same architecture, the function that computes maps.
        attribute: computes what the maps are made of: the method's own attribution (N, C, h, w) or (N, h, w) of images
            for classes.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    maps: Tensor
    relevance_sum: Tensor
    probability: Tensor
    boxes: Tensor
    segmentations: Tensor
    network: nn.Module
    explain_with: Callable[[nn.Module], Explain]
    attribute: Explain


class SampleMetric(Protocol):
    """A metric whose values become columns of ``samples.csv``.

    One that looks at several images together has an attribute ``images_together``: every batch of an evaluation must
    hold a multiple of so many images. One that puts images of the whole evaluation beside those of a batch has a method
    ``look_at(network, labels, image_at)``: it is called once, before anything is measured, with the explained network,
    the label of every sample, and a function from a sample's position to its image (C, H, W), None where that cannot be
    read.
    """

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return (N,) values by column name, the same names for every batch; NaN where a sample has no value."""
