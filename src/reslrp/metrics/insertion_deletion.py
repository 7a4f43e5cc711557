"""Insertion, deletion and ID score as a torchmetrics metric."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn

from reslrp.errors import InputError
from reslrp.metrics.inference import BatchSize
from reslrp.metrics.protocols import PROTOCOLS, Protocol
from reslrp.metrics.score_curves import IMAGENET_MEAN, IMAGENET_STD, score_curves


class InsertionDeletion(torchmetrics.Metric):
    """Mean area under the insertion and the deletion curve, and their difference (ID score).

    >>> metric = InsertionDeletion(model, protocol="published")
    >>> metric.update(images, maps, targets)
    >>> metric.compute()  # {"insertion": ..., "deletion": ..., "id_score": ...}

    protocol: "published" (released code), "strict" (exactly n pixels), "levels" (one point per attribution level), or
        an object with `baseline`, `patch` and `points`, see `reslrp.metrics.protocols.Protocol`.
    step, ties, baseline, patch: options of a protocol given by name; None leaves the protocol's own value.
    batch_size: masked images per forward pass. mean, std: what the images were normalised with.

    The states are sums over samples, so that processes which saw different samples reduce to the mean over all.
    Raises InputError for an option that cannot be used.
    """

    full_state_update = False
    is_differentiable = False

    insertion_sum: Tensor
    deletion_sum: Tensor
    samples: Tensor

    def __init__(
        self,
        model: nn.Module,
        protocol: str | Protocol = "published",
        *,
        step: int | None = None,
        ties: str | None = None,
        baseline: str | None = None,
        patch: int | None = None,
        batch_size: int = 32,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
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
        for state in ("insertion_sum", "deletion_sum"):
            self.add_state(state, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Tensor, maps: Tensor, targets: Tensor) -> None:
        """images (N, C, H, W) normalised, maps (N, H, W), targets (N,) class indices."""
        scores = score_curves(
            self.model,
            images,
            maps,
            targets,
            {"": self.protocol},
            batch_size=self.batch_size,
            mean=self.mean,
            std=self.std,
        )[""]
        self.insertion_sum += scores.insertion.sum().to(self.insertion_sum.device)
        self.deletion_sum += scores.deletion.sum().to(self.deletion_sum.device)
        self.samples += len(images)

    def compute(self) -> dict[str, Tensor]:
        """Means over all samples: insertion and deletion in [0, 1], id_score in [-1, 1]."""
        if self.samples == 0:
            raise InputError("no sample has been scored: call update before compute")
        insertion = self.insertion_sum / self.samples
        deletion = self.deletion_sum / self.samples
        return {"insertion": insertion, "deletion": deletion, "id_score": insertion - deletion}


def build_protocol(protocol: str | Protocol, options: dict[str, Any]) -> Protocol:
    """The named protocol with its options, or the given protocol object as it is."""
    if not isinstance(protocol, str):
        if options:
            raise InputError(f"options {', '.join(options)} belong to the protocol object: set them there")
        return protocol
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol={protocol} is unknown: choose one of {', '.join(PROTOCOLS)}")
    unknown = options.keys() - {field.name for field in fields(PROTOCOLS[protocol])}
    if unknown:
        raise InputError(f"protocol={protocol} has no option {', '.join(sorted(unknown))}")
    built: Protocol = PROTOCOLS[protocol](**options)
    return built
