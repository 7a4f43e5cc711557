"""Steps of storages that are written over in part, or read through views that no operation announced."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import transposed_map
from relsplit.lrp.recording.holders import Geometry
from relsplit.lrp.recording.step import Step


def restride(step: Step, whole: Step, stored: Geometry, read: Geometry, numel: int) -> Step:
    """Give ``step`` its way back: it reads other entries of a storage than those that ``whole`` was stored as.

    Args:
        step: without a way back.
        whole: the step that made what the storage holds.
        stored: how it lies there.
        read: what is read.
        numel: entries of the storage.
    """

    def backward(relevance: Tensor) -> list[Tensor]:
        # Entries may be seen several times: PyTorch's own transpose of a view adds them up.
        flat = transposed_map(lambda storage: _view(storage, read), relevance, relevance.new_empty(numel))
        return [_view(flat, stored).clone()]

    step.sources, step.backward = (whole,), backward
    step.nonnegative, step.is_gate, step.is_attention = whole.nonnegative, whole.is_gate, whole.is_attention
    if whole.support is not None:
        flat = whole.support.new_zeros(numel)
        _view(flat, stored).copy_(whole.support)
        step.support = _view(flat, read).clone()
    return step


def overwrite(
    step: Step,
    before: Step | None,
    part: Step | None,
    flat: Geometry,
    written: Geometry,
    device: torch.device,
) -> Step:
    """Give ``step`` its way back: a storage after a part of it was written over.

    Args:
        step: without a way back, of the whole storage, flat.
        before: the step of the storage before, flat; None for constants.
        part: the step of what was written; None for constants.
        flat: geometry of the storage.
        written: geometry of the part.
        device: of the storage.
    """

    def backward(relevance: Tensor) -> list[Tensor]:
        result = []
        of_part = _view(relevance, written)
        if part is not None:
            result.append(of_part.clone())
        if before is not None:
            of_part.zero_()
            result.insert(0, relevance)
        return result

    step.sources = tuple(source for source in (before, part) if source is not None)
    step.backward = backward
    step.nonnegative = all(source.nonnegative for source in step.sources)
    support = torch.zeros(flat[0], device=device)
    if before is not None:
        support.fill_(1) if before.support is None else support.copy_(before.support)
    target = _view(support, written)
    if part is None:
        target.zero_()
    elif part.support is None:
        target.fill_(1)
    else:
        target.copy_(part.support)
    step.support = support
    return step


def _view(flat: Tensor, geometry: Geometry) -> Tensor:
    return flat.as_strided(geometry[0], geometry[1], geometry[2])
