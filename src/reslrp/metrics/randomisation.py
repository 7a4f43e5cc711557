"""Sanity check: a map that explains the network must change when the network's weights become random."""

import copy
import typing
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn

from reslrp.errors import InputError
from reslrp.metrics.explain import Explain
from reslrp.metrics.inputs import check_finite


@typing.runtime_checkable
class Layer(typing.Protocol):
    """A module that can draw its weights anew."""

    def reset_parameters(self) -> None: ...


def stages(model: nn.Module) -> list[str]:
    """The model's top-level parts that have weights, from the output to the input.

    For torchvision's ResNet: fc, layer4, layer3, layer2, layer1, bn1, conv1. A model that is a wrapper around a
    single part is looked into.
    """
    prefix, root = "", model
    while True:
        parts = [(name, part) for name, part in root.named_children() if _layers(part)]
        if len(parts) != 1 or not any(_layers(part) for part in parts[0][1].children()):
            break
        prefix, root = f"{prefix}{parts[0][0]}.", parts[0][1]
    if not parts:
        raise InputError(f"{type(model).__name__} has no part with weights that can be drawn anew")
    return [prefix + name for name, _ in reversed(parts)]


def cascading_randomisation(model: nn.Module, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield (stage, network) with the weights drawn anew from the output down to and including that stage.

    Adebayo et al. 2018, Sec. 3.1. Each layer is initialised by its own reset_parameters (BatchNorm's running
    statistics included) from `seed`; the model itself stays as it is. The network is one copy that changes from step
    to step.
    """
    randomised = copy.deepcopy(model)
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    for number, stage in enumerate(stages(model)):
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed + number)
            for layer in _layers(randomised.get_submodule(stage)):
                layer.reset_parameters()
        yield stage, randomised


@torch.enable_grad()  # torchmetrics switches gradients off in update
def randomisation_correlation(
    model: nn.Module,
    explain_with: Callable[[nn.Module], Explain],
    images: Tensor,
    targets: Tensor,
    seed: int = 42,
    original: Tensor | None = None,
) -> dict[str, Tensor]:
    """Spearman rank correlation (N,) in [-1, 1] between the maps of the model and of the randomised one, per stage.

    explain_with: makes an explainer of any network with the model's architecture. original: the model's own maps,
    where they are known already.
    """
    if original is None:
        original = explain_with(model)(images, targets)
    return {
        stage: rank_correlation(original, explain_with(network)(images, targets))
        for stage, network in cascading_randomisation(model, seed)
    }


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rho (N,) of maps (N, ...), tied pixels sharing their mean rank; 0 where a map is constant."""
    if first.shape != second.shape:
        raise InputError(f"maps of shapes {tuple(first.shape)} and {tuple(second.shape)} cannot be compared")
    x, y = _centred_ranks(first), _centred_ranks(second)
    spread = (x.square().sum(1) * y.square().sum(1)).sqrt()
    return torch.where(spread > 0, (x * y).sum(1) / spread, torch.zeros_like(spread))


class CascadingRandomisation(torchmetrics.Metric):
    """Mean rank correlation per stage of the cascade, see `randomisation_correlation`; lower is better.

    A map that no longer depends on the weights (an edge detector, a control) stays near 1.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False

    correlation_sum: Tensor
    samples: Tensor

    def __init__(
        self, model: nn.Module, explain_with: Callable[[nn.Module], Explain], seed: int = 42, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stages = stages(model)
        # Not as a submodule: moving or saving the metric must not touch the user's model.
        self.__dict__["model"] = model
        self.explain_with = explain_with
        self.seed = seed
        self.add_state(
            "correlation_sum", default=torch.zeros(len(self.stages), dtype=torch.float64), dist_reduce_fx="sum"
        )
        self.add_state("samples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Tensor, targets: Tensor) -> None:
        """images (N, C, H, W), targets (N,) explained class."""
        found = randomisation_correlation(self.model, self.explain_with, images, targets, self.seed)
        self.correlation_sum += torch.stack([found[stage].sum() for stage in self.stages]).to(
            self.correlation_sum.device
        )
        self.samples += len(images)

    def compute(self) -> dict[str, Tensor]:
        """Mean correlation by stage, from the output to the input."""
        if self.samples == 0:
            raise InputError("no sample has been measured: call update before compute")
        return dict(zip(self.stages, self.correlation_sum / self.samples, strict=True))


def _layers(part: nn.Module) -> list[Layer]:
    return [m for m in part.modules() if isinstance(m, Layer) and list(m.parameters(recurse=False))]


def _centred_ranks(maps: Tensor) -> Tensor:
    values = check_finite(maps.detach()).flatten(1)
    ranks = torch.empty(values.shape, dtype=torch.float64, device=values.device)
    for row, target in zip(values, ranks, strict=True):
        _, level, counts = torch.unique(row, return_inverse=True, return_counts=True)
        ends = counts.cumsum(0).double()
        target.copy_((ends - (counts - 1) / 2)[level])
    return ranks - (values.shape[1] + 1) / 2
