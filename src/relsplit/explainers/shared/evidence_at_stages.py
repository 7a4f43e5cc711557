"""What speaks for a class and against others at every resolution of a network."""

from typing import Any

from torch import Tensor

from relsplit.lrp import LRP
from relsplit.lrp.lrp import Run
from relsplit.lrp.positions import on_grid
from relsplit.lrp.stages import AtStages


def evidence_at_stages(lrp: LRP, images: Tensor, target: Tensor | int | None) -> tuple[list[Tensor], Run[Any]]:
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
    if run.start.dim() == 3 and (tokens := on_grid(run.start, size)) is not None:
        stages.append(tokens)
    return [stage.sum(1) for stage in stages], run
