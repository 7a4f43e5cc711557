"""Insertion, deletion and ID score as a torchmetrics metric."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn

from relsplit.baseline import Baseline
from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.curves import IMAGENET_MEAN, IMAGENET_STD, score_curves
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.protocol import Protocol, Ties
from relsplit.networks.answer import AnswerReader, Scores
from relsplit.networks.batches import BatchSize
from relsplit.networks.outputs import OutputChoice
from relsplit.options import Count, Positive, checked_options
from relsplit.targets.target import Target


@checked_options
class InsertionDeletion(torchmetrics.Metric):
    """Mean area under the insertion and the deletion curve, and their difference, the ID score (paper Sec. 5.1).

    The states are sums over samples, so that processes which saw different samples reduce to the mean over all.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.metrics import InsertionDeletion
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> images, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 3])
        >>> metric = InsertionDeletion(model)
        >>> metric.update(images, LRP(model).attribute(images, targets).sum(1), targets)
        >>> sorted(metric.compute())
        ['deletion', 'id_score', 'insertion']

    Args:
        model: network of normalised images, as it is at every update.
        protocol: "strict" (exactly n pixels), "published" (released code: tied pixels are shown at once, so that a map
            of one pixel beats every method), "levels" (one point per attribution level), or an object, see
            :class:`relsplit.metrics.insertion_deletion.protocols.protocol.Protocol`.
        step: option of a protocol given by name; None leaves the protocol's own value.
        ties: as ``step``.
        baseline: as ``step``.
        patch: as ``step``.
        batch_size: masked images per forward pass.
        mean: what the images were normalised with.
        std: what the images were normalised with.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of it is explained, see :class:`relsplit.LRP`.
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        InputError: an option that cannot be used.
    """

    full_state_update = False
    is_differentiable = False

    insertion_sum: Tensor
    deletion_sum: Tensor
    samples: Tensor

    def __init__(
        self,
        model: nn.Module,
        protocol: str | Protocol = "strict",
        *,
        step: Count | None = None,
        ties: Ties | None = None,
        baseline: Baseline | None = None,
        patch: Count | None = None,
        batch_size: Count = 32,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[Positive] = IMAGENET_STD,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        options = {"step": step, "ties": ties, "baseline": baseline, "patch": patch}
        self.protocol = build_protocol(protocol, {key: value for key, value in options.items() if value is not None})
        # Not as a submodule: moving, saving or switching the metric must not touch the user's model.
        self.__dict__["model"] = model
        self.batch_size = BatchSize(batch_size)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self._reader = AnswerReader(scores)
        self._output = output
        for state in ("insertion_sum", "deletion_sum"):
            self.add_state(state, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        images: Tensor,
        maps: Tensor,
        targets: "Target | None",
        forward_kwargs: "Mapping[str, Any] | None" = None,
    ) -> None:
        """Score a batch.

        Args:
            images: (N, C, H, W), normalised; or signals (N, C, L), volumes (N, C, D, H, W), tables (N, F) or tokens
                (N, T), whose protocol has no patches. What takes the place of tokens is the protocol's baseline:
                "zero", "mean" or "blur" of their vectors, or a token, such as the mask token.
            maps: (N, H, W), (N, L), (N, D, H, W), (N, F) or (N, T), finite; only their order matters. A numpy array
                does as well.
            targets: (N,) class whose probability is read, also as a numpy array; None for the predicted one; or a
                target of :mod:`relsplit.targets`, whose value is read.
            forward_kwargs: what the network gets besides, by name; what is of single samples (lengths, an attention
                mask) stays with them.

        Raises:
            InputError: arguments that do not fit together.
        """
        scores = score_curves(
            self.model,
            images,
            maps,
            targets,
            {"": self.protocol},
            batch_size=self.batch_size,
            mean=self.mean,
            std=self.std,
            scores=self._reader,
            forward_kwargs=forward_kwargs,
            output=self._output,
        )[""]
        self.insertion_sum += scores.insertion.sum().to(self.insertion_sum.device)
        self.deletion_sum += scores.deletion.sum().to(self.deletion_sum.device)
        self.samples += len(images)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over all samples: insertion and deletion in [0, 1], id_score in [-1, 1].

        Of a target that is no class, all three are in units of its value.

        Raises:
            InputError: no sample has been scored.
        """
        if self.samples == 0:
            raise InputError("no sample has been scored: call update before compute")
        insertion = self.insertion_sum / self.samples
        deletion = self.deletion_sum / self.samples
        return {"insertion": insertion, "deletion": deletion, "id_score": insertion - deletion}


def build_protocol(protocol: str | Protocol, options: dict[str, Any]) -> Protocol:
    """Return the named protocol with its options, or the given protocol object as it is.

    Args:
        protocol: a name, or an object.
        options: of a protocol given by name.

    Raises:
        InputError: an unknown name, or options that the protocol does not have.
    """
    if not isinstance(protocol, str):
        if options:
            raise InputError(f"options {', '.join(options)} belong to the protocol object: set them there")
        return protocol
    named = PROTOCOLS.get(protocol)
    unknown = options.keys() - inspect.signature(named).parameters.keys()
    if unknown:
        raise InputError(f"protocol={protocol} has no option {', '.join(sorted(unknown))}")
    return named(**options)
