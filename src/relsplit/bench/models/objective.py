"""What training minimises and counts: one class per image, or several."""

import warnings
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MultilabelAveragePrecision
from torchmetrics.utilities import dim_zero_cat


class Objective(Protocol):
    """A loss and its metrics."""

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of logits (N, classes)."""

    def metrics(self, num_classes: int) -> dict[str, Metric]:
        """Return new metrics by name; ``accuracy`` is one of them."""

    def seen(self, name: str, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a metric is updated with."""


class OneClass:
    """Cross-entropy and accuracy of targets (N,)."""

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy."""
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    def metrics(self, num_classes: int) -> dict[str, Metric]:
        """Return the share of right images."""
        # Micro: the share of right images, which is what "accuracy" means in the paper, not the mean over classes.
        return {"accuracy": MulticlassAccuracy(num_classes, average="micro")}

    def seen(self, name: str, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return both as they are."""
        return logits, targets


class MeanAveragePrecision(MultilabelAveragePrecision):
    """Mean over the classes that occur of the area under the precision-recall curve."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")

    def compute(self) -> Tensor:
        """Return the mean; torchmetrics counts a class that no image shows as 0."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about these classes
            precisions: Tensor = super().compute()
        return precisions[(dim_zero_cat(self.target) == 1).any(0)].mean()


class SeveralClasses:
    """Binary cross-entropy per class and mean average precision, of targets (N, classes) in {0, 1}."""

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean over images and classes; smoothing moves targets towards 1/2."""
        smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, smoothed)

    def metrics(self, num_classes: int) -> dict[str, Metric]:
        """Return the share of images whose highest score is one of their classes, and the mean average precision."""
        return {
            "accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "mean_average_precision": MeanAveragePrecision(num_classes),
        }

    def seen(self, name: str, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the targets as a metric takes them."""
        if name != "accuracy":
            return logits.sigmoid(), targets.long()
        predicted = logits.argmax(1)
        hit = targets.gather(1, predicted[:, None])[:, 0] > 0
        return logits, torch.where(hit, predicted, targets.argmax(1))


def new_metrics(objective: Objective, num_classes: int) -> nn.ModuleDict:
    """Return metrics of the three stages, as ``<stage>_<name>``."""
    return nn.ModuleDict(
        {
            f"{stage}_{name}": metric
            for stage in ("train", "val", "test")
            for name, metric in objective.metrics(num_classes).items()
        }
    )
