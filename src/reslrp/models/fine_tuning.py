"""Training a classifier with cross-entropy, as a LightningModule."""

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy


class FineTuning(pl.LightningModule):
    """Fine-tune ``network`` on labelled images and log loss and accuracy per epoch.

    Logs ``train_loss``, ``train_accuracy``, ``val_loss``, ``val_accuracy``, ``test_loss``, ``test_accuracy``, accuracies
    in [0, 1], the validation and test losses without label smoothing.

    Args:
        network: (N, 3, H, W) images to (N, num_classes) logits.
        num_classes: number of classes.
        optimizer: makes the optimizer from the parameters.
        lr_scheduler: ``scheduler``, which makes the scheduler from the optimizer, beside Lightning's keys of a
            learning-rate scheduler (``interval``, ``frequency``, ``monitor``, ``reduce_on_plateau``); None: constant.
        label_smoothing: share of the target probability spread over all classes, in training.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        lr_scheduler: dict[str, Any] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.label_smoothing = label_smoothing
        # Micro: the share of right images, which is what "accuracy" means in the paper, not the mean over classes.
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of one batch of (images, labels)."""
        images, labels = batch
        logits = self(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self.train_accuracy(logits, labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss and accuracy of one validation batch."""
        self._score(batch, "val", self.val_accuracy)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss and accuracy of one test batch."""
        self._score(batch, "test", self.test_accuracy)

    def _score(self, batch: tuple[Tensor, Tensor], stage: str, accuracy: MulticlassAccuracy) -> None:
        images, labels = batch
        logits = self(images)
        accuracy(logits, labels)
        loss = functional.cross_entropy(logits, labels)
        self.log(f"{stage}_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        self.log(f"{stage}_accuracy", accuracy, on_step=False, on_epoch=True, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and, if there is one, the learning-rate schedule."""
        optimizer = self.optimizer(self.network.parameters())
        if self.lr_scheduler is None:
            return optimizer
        schedule = {**self.lr_scheduler, "scheduler": self.lr_scheduler["scheduler"](optimizer)}
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[typeddict-item]
