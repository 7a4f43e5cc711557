"""Sanity check: a map that explains the network must change when the network's weights become random."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from relsplit.checks import finite_maps
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import Explain, ExplainedBatch
from relsplit.networks.stages import layers_with_weights, stages
from relsplit.options import Seed, checked_options

Redrawn = Literal["all", "output"]
"""Which stages are drawn anew, one after the other: all, or that of the output alone, which tells classes apart."""


def cascading_randomisation(model: nn.Module, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield (stage, network) with the weights drawn anew from the output down to and including that stage.

    Adebayo et al. 2018, Sec. 3.1. Each layer is initialised by its own reset_parameters (BatchNorm's running
    statistics included) from ``seed``; the model itself stays as it is. The network is one copy that changes from step
    to step.
    """
    randomised = copy.deepcopy(model)
    accelerators = {parameter.device for parameter in model.parameters() if parameter.device.type != "cpu"}
    kind = next((device.type for device in accelerators), "cuda")
    devices = sorted({device.index or 0 for device in accelerators})
    for number, stage in enumerate(stages(model)):
        with torch.random.fork_rng(devices=devices, device_type=kind):
            torch.manual_seed(seed + number)
            for layer in layers_with_weights(randomised.get_submodule(stage)):
                layer.reset_parameters()
        yield stage, randomised


@torch.enable_grad()  # explainers differentiate, whatever the caller does
def randomisation_correlation(
    model: nn.Module,
    explain_with: Callable[[nn.Module], Explain],
    images: Tensor,
    targets: Tensor,
    seed: int = 42,
    original: Tensor | None = None,
    redrawn: Redrawn = "all",
) -> dict[str, Tensor]:
    """Return the rank correlation between the maps of the model and of the randomised one, per stage.

    Args:
        model: the explained network.
        explain_with: makes an explainer of any network with the model's architecture.
        images: (N, C, H, W).
        targets: (N,) explained class, or any target that the explainer takes. What such a target chooses by the output
            (a region, a token) it chooses anew each time: give a mask, a token.
        seed: of the random weights.
        original: the model's own maps, where they are known already.
        redrawn: "all" stages, or that of the "output" alone.

    Returns:
        stage, from the output to the input, to (N,) Spearman correlations in [-1, 1].

    Raises:
        InputError: the model has no part whose weights can be drawn anew.
    """
    if original is None:
        original = explain_with(model)(images, targets)
    networks = itertools.islice(cascading_randomisation(model, seed), None if redrawn == "all" else 1)
    return {stage: rank_correlation(original, explain_with(network)(images, targets)) for stage, network in networks}


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rho of maps, tied pixels sharing their mean rank; 0 where a map is constant.

    Examples:
        >>> import torch
        >>> from relsplit.metrics import rank_correlation
        >>> maps = torch.rand(2, 4, 4)
        >>> rank_correlation(maps, maps.exp()).tolist()
        [1.0, 1.0]

    Args:
        first: (N, ...).
        second: of the same shape.

    Returns:
        (N,) float64 in [-1, 1].

    Raises:
        InputError: different shapes, or maps that are not finite.
    """
    if first.shape != second.shape:
        raise InputError(f"maps of shapes {tuple(first.shape)} and {tuple(second.shape)} cannot be compared")
    x, y = _centred_ranks(first), _centred_ranks(second)
    spread = (x.square().sum(1) * y.square().sum(1)).sqrt()
    return torch.where(spread > 0, (x * y).sum(1) / spread, torch.zeros_like(spread))


@checked_options
class Randomisation:
    """Columns ``rank_correlation_<stage>``: how alike the map stays to that of the randomised network.

    See :func:`randomisation_correlation`; each sample is explained once more per stage. ``rank_correlation`` is
    their mean. A map that stays near 1 does not depend on the weights (an edge detector, a control).

    Args:
        seed: of the random weights.
        redrawn: see :func:`randomisation_correlation`; a map that stays as it is where the "output" alone is redrawn
            does not tell classes apart.
    """

    def __init__(self, seed: Seed = 42, redrawn: Redrawn = "all") -> None:
        self.seed = seed
        self.redrawn: Redrawn = redrawn

    def columns(self, batch: ExplainedBatch) -> dict[str, Tensor]:
        """Return the correlations of every sample, one column per stage and one for the mean over the stages."""
        found = randomisation_correlation(
            batch.network,
            batch.explain_with,
            batch.images,
            batch.targets,
            self.seed,
            original=batch.maps,
            redrawn=self.redrawn,
        )
        columns = {f"rank_correlation_{stage}": values for stage, values in found.items()}
        return columns | {"rank_correlation": torch.stack(list(found.values())).mean(0)}


def _centred_ranks(maps: Tensor) -> Tensor:
    values = finite_maps(maps).flatten(1)
    ranks = torch.empty(values.shape, dtype=torch.float64, device=values.device)
    for row, target in zip(values, ranks, strict=True):
        _, level, counts = torch.unique(row, return_inverse=True, return_counts=True)
        ends = counts.cumsum(0).double()
        target.copy_((ends - (counts - 1) / 2)[level])
    return ranks - (values.shape[1] + 1) / 2
