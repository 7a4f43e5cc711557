"""Training a classifier, as a LightningModule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from relsplit.bench.models.objective import Objective, OneClass, new_metrics
from relsplit.errors import InputError
from relsplit.options import Limits, checked_options

PREPROCESSING = ("resize", "image_size", "mean", "std")
"""Settings of a dataset that decide how its images become network inputs."""


@checked_options
class FineTuning(pl.LightningModule):
    """Fine-tune ``network`` on labelled images and log loss and accuracy per epoch.

    Logs ``train_loss``, ``train_accuracy``, ``val_loss``, ``val_accuracy``, ``test_loss`` and ``test_accuracy``:
    accuracies in [0, 1], the validation and test losses without label smoothing. Another objective has further metrics.

    Args:
        network: (N, 3, H, W) images to (N, num_classes) logits.
        class_names: by label; they travel in the checkpoints.
        preprocessing: of its images at test time (the settings :data:`PREPROCESSING`); it travels, too.
        optimizer: makes the optimizer from the parameters.
        lr_scheduler: ``scheduler``, which makes the scheduler from the optimizer, beside Lightning's keys of a
            learning-rate scheduler (``interval``, ``frequency``, ``monitor``, ``reduce_on_plateau``) and
            ``length_argument``, the scheduler's argument that takes the number of steps of the whole training, if it
            has one; None: constant.
        label_smoothing: share of the target probability spread over all classes, in training.
        objective: the loss and the metrics: one class per image, or several.
    """

    def __init__(
        self,
        network: nn.Module,
        class_names: Sequence[str],
        preprocessing: Mapping[str, Any],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        lr_scheduler: dict[str, Any] | None = None,
        label_smoothing: Annotated[float, Limits(minimum=0, below=1)] = 0.0,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        # The layout that CPUs and tensor cores convolve fastest; the numbers it gives are the same.
        self.network = network.to(memory_format=torch.channels_last)
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.label_smoothing = label_smoothing
        self.class_names = list(class_names)
        self.preprocessing = dict(preprocessing)
        self.objective: Objective = objective or OneClass()
        self.metrics = new_metrics(self.objective, len(self.class_names))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch of (images, labels)."""
        return self._score(batch, "train", self.label_smoothing)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss and accuracy of one validation batch."""
        self._score(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss and accuracy of one test batch."""
        self._score(batch, "test")

    def scores_and_loss(
        self, images: Tensor, labels: Tensor, stage: str, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Scores (N, num_classes) and the loss that is minimised; ``stage`` is ``"train"``, ``"val"`` or ``"test"``."""
        logits = self(images)
        return logits, self.objective.loss(logits, labels, label_smoothing)

    def _score(self, batch: tuple[Tensor, Tensor], stage: str, label_smoothing: float = 0.0) -> Tensor:
        images, labels = batch
        logits, loss = self.scores_and_loss(images, labels, stage, label_smoothing)
        self.log(f"{stage}_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        for key, metric in self.metrics.items():
            assert isinstance(metric, Metric)
            if key.startswith(f"{stage}_"):
                metric.update(*self.objective.seen(key.removeprefix(f"{stage}_"), logits.detach(), labels))
                self.log(key, metric, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the checkpoint say which class is which, and how images are prepared."""
        checkpoint["class_names"] = self.class_names
        checkpoint["preprocessing"] = self.preprocessing

    def check_optimizer(self) -> None:
        """Build the optimizer and the schedule once, to no use but to see that they can be built.

        Raises:
            InputError: an argument of one of them does not exist or has a value that cannot be used.
        """
        built = self._optimizer_and_schedule(1_000)
        if not isinstance(built, dict) or built["lr_scheduler"].get("reduce_on_plateau"):
            return
        try:
            built["optimizer"].step()  # there are no gradients: nothing moves
            built["lr_scheduler"]["scheduler"].step()
        except (ArithmeticError, TypeError, ValueError) as error:
            raise InputError(f"trainer.lr_scheduler cannot make a step: {error}") from error

    def configure_optimizers(self) -> Any:
        """The optimizer and, if there is one, the learning-rate schedule, in Lightning's format.

        Raises:
            InputError: an argument of one of them does not exist or has a value that cannot be used.
        """
        has_length = self.lr_scheduler is not None and self.lr_scheduler.get("length_argument") is not None
        return self._optimizer_and_schedule(int(self.trainer.estimated_stepping_batches) if has_length else 0)

    def _optimizer_and_schedule(self, steps: int) -> Any:
        try:
            optimizer = self.optimizer(self.network.parameters())
            if self.lr_scheduler is None:
                return optimizer
            schedule = dict(self.lr_scheduler)
            length = schedule.pop("length_argument", None)
            arguments = {} if length is None else {length: steps}
            schedule["scheduler"] = schedule["scheduler"](optimizer, **arguments)
        except (TypeError, ValueError) as error:
            raise InputError(f"trainer.optimizer or trainer.lr_scheduler cannot be built: {error}") from error
        return {"optimizer": optimizer, "lr_scheduler": schedule}
