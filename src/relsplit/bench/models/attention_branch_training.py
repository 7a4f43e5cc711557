"""Training a network with an attention branch: both branches learn the classes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from relsplit.bench.models.attention_branch import AttentionBranchNetwork
from relsplit.bench.models.fine_tuning import FineTuning
from relsplit.bench.models.objective import Objective
from relsplit.errors import InputError
from relsplit.options import Limits, checked_options


@checked_options
class AttentionBranchFineTuning(FineTuning):
    """Fine-tune with the sum of both branches' cross entropies (Fukui et al., CVPR 2019).

    Beside what :class:`relsplit.bench.models.fine_tuning.FineTuning` logs, ``train_attention_accuracy``,
    ``val_attention_accuracy`` and ``test_attention_accuracy`` are those of the attention branch; ``accuracy`` is the
    perception branch's, and a loss is the sum.

    Args:
        network: with an attention branch.
        class_names: see there, as are the others.
        preprocessing: see there.
        optimizer: see there.
        lr_scheduler: see there.
        label_smoothing: see there; for both branches.
        objective: see there; for both branches.
        attention_weight: of the attention branch's cross entropy: 1 in the authors' code, 0.1 in the laboratory's.

    Raises:
        InputError: the network has no attention branch.
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
        attention_weight: Annotated[float, Limits(minimum=0)] = 1.0,
    ) -> None:
        if not isinstance(network, AttentionBranchNetwork):
            raise InputError(
                f"trainer.module: {type(network).__name__} has no attention branch to be trained: choose another "
                "model, or trainer.module=null"
            )
        super().__init__(network, class_names, preprocessing, optimizer, lr_scheduler, label_smoothing, objective)
        self.attention_weight = attention_weight
        num_classes = len(self.class_names)
        self.train_attention_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_attention_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_attention_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def scores_and_loss(
        self, images: Tensor, labels: Tensor, stage: str, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Scores of the perception branch and the sum of both losses; logs the attention branch's accuracy."""
        assert isinstance(self.network, AttentionBranchNetwork)
        scores, attention_scores = self.network.both_scores(images)
        name = f"{stage}_attention_accuracy"
        accuracy = getattr(self, name)
        accuracy.update(*self.objective.seen("accuracy", attention_scores.detach(), labels))
        self.log(name, accuracy, on_step=False, on_epoch=True, batch_size=len(labels))
        losses = [self.objective.loss(each, labels, label_smoothing) for each in (scores, attention_scores)]
        return scores, losses[0] + self.attention_weight * losses[1]
