"""What speaks for a class and against others at every resolution of a network."""

from typing import Any

from torch import Tensor

from relsplit.flat_maps import warn_of_flat_maps
from relsplit.lrp import LRP
from relsplit.lrp.lrp import Run
from relsplit.lrp.positions import on_grid
from relsplit.lrp.stages import AtStages
from relsplit.targets.target import Target


def evidence_at_stages(lrp: LRP, images: Tensor, target: "Target | None") -> tuple[list[Tensor], Run[Any]]:
    """Explain images, and net relevance position by position wherever all of it comes by.

    Args:
        lrp: with ``start="evidence"``.
        images: (N, C, H, W), checked.
        target: see :meth:`relsplit.LRP.attribute`.

    Returns:
        (N, h, w) for each resolution, from the image's on: relevance summed over the channels, below zero where more
        speaks against the class than for it (if ``lrp`` is signed); and the run that it is from.

    Raises:
        InputError: see :meth:`relsplit.LRP.attribute`.
    """
    size = images.shape[2:]
    run = lrp.observed(images, target, lambda recording, start: AtStages(size))
    stages = list(run.observer.by_name().values())
    # Tokens are no stage of their own, because those of no position have relevance elsewhere.
    begin = begin_of(run)
    if begin.dim() == 3 and (tokens := on_grid(begin, size)) is not None:
        stages.append(tokens)
    return [stage.sum(1) for stage in stages], run


def begin_of(run: Run[Any]) -> Tensor:
    """Return the relevance of the last feature map, which evidence begins with."""
    assert run.evidence is not None, "it is of start='evidence'"
    return run.evidence


def probability_of(run: Run[Any]) -> Tensor:
    """Return the probability of the class that evidence is of, (N,)."""
    return begin_of(run).abs().flatten(1).sum(1)


def warn_of_flat_evidence(method: str, is_flat: Tensor, run: Run[Any], stacklevel: int) -> None:
    """Warn of the images in which nothing was left to show, but for those that LRP has warned of itself.

    Args:
        method: that made the maps.
        is_flat: (N,) bool.
        run: see :func:`evidence_at_stages`.
        stacklevel: see :func:`relsplit.flat_maps.warn_of_flat_maps`.
    """
    unsaid = is_flat if run.is_flat is None else is_flat & ~run.is_flat
    has_none = probability_of(run) == 0
    warn_of_flat_maps(method, unsaid & ~has_none, "no position speaks for the class", stacklevel + 1)
    warn_of_flat_maps(method, unsaid & has_none, "the class has probability 0", stacklevel + 1)
