"""Relevance that passes chosen channels of modules, and no other: what a concept of the network has to do with a map.

Achtibat et al. (2023) call this concept-conditional relevance. All maps of a module's channels together are what passes
the module. Of several modules it is what passes the chosen channels of one and then those of the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.lrp.recording.network import Recording
from relsplit.lrp.recording.step import Step
from relsplit.lrp.walk import Watch, walk_back

Through = Mapping[str, "int | Sequence[int] | Tensor"]
"""By the paths of modules: a channel of what each hands on (along its second dimension), several, integers (N,) or
(N, K) of each sample's own, or a mask to multiply by."""


def passed_through(recording: Recording, start: Tensor, through: Through) -> tuple[Recording, Tensor]:
    """Carry relevance to modules, and keep what is of the chosen channels there.

    Args:
        recording: of the network; what lies behind the modules is used up.
        start: relevance of its result.
        through: the modules; the one nearest to the output comes first, in whatever order they are named.

    Returns:
        The recording as if it ended at the last module, and the relevance there.

    Raises:
        InputError: there is no such module, no relevance passes it, or what it hands on has no such channel; or two of
            the modules stand side by side.
    """
    if not isinstance(through, Mapping) or not through:
        raise InputError(f"through: expected channels by the paths of modules, {{'layer3': 5}}, not {through!r}")
    known = recording.recorder.module_paths()
    for name in through:
        if name not in known:
            top = ", ".join(dict.fromkeys(path.partition(".")[0] for path in known if path))
            raise InputError(f"through: no module is called {name!r}: the network has {top}")
    places = [(_output_of(name, recording.result), name) for name in through]
    step, relevance = recording.result, start
    for place, name in sorted(places, key=lambda found: -found[0].index):
        if place is not step:
            _output_of(name, step)  # beside the module before it, what passes both is nothing
            (relevance,) = walk_back(step, relevance, [place], Watch())
        step, relevance = place, _chosen(relevance, through[name], name, len(start))
    return replace(recording, result=step), relevance


def _output_of(name: str, result: Step) -> Step:
    """Return the last step of a module, of the last call of it, on the ways back from ``result``."""
    found: Step | None = None
    waiting, met = [result], {result}
    while waiting:
        step = waiting.pop()
        is_part = step.path == name or step.path.startswith(f"{name}.")
        if is_part and not step.is_inside and (found is None or step.index > found.index):
            found = step
        new = [source for source in step.sources if source not in met]
        met.update(new)
        waiting.extend(new)
    if found is None:
        raise InputError(
            f"through: no relevance passes module {name!r}: it is off its way, or does nothing (nn.Identity)"
        )
    return found


def _chosen(relevance: Tensor, channels: "int | Sequence[int] | Tensor", name: str, count: int) -> Tensor:
    shape = tuple(relevance.shape)
    if hasattr(channels, "__array__") and not isinstance(channels, Tensor):
        channels = torch.as_tensor(channels)  # NumPy's
    if len(shape) < 2 or shape[0] != count:
        raise InputError(f"through: what module {name!r} hands on, {shape}, has no channels of {count} samples")
    if isinstance(channels, Tensor) and (channels.dtype == torch.bool or channels.is_floating_point()):
        if not bool(torch.isfinite(channels).all()):
            raise InputError(f"through: the mask of module {name!r} holds NaN or infinity")
        try:
            return relevance * channels.detach().to(relevance).expand(shape)
        except RuntimeError:
            raise InputError(
                f"through: a mask {tuple(channels.shape)} does not fit what module {name!r} hands on, {shape}"
            ) from None
    indices = _indices(channels, name, shape).to(relevance.device)
    chosen = torch.zeros(shape[:2], dtype=torch.bool, device=relevance.device).scatter_(1, indices, True)
    return torch.where(chosen.reshape(*shape[:2], *[1] * (len(shape) - 2)), relevance, 0)


def _indices(channels: "int | Sequence[int] | Tensor", name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the chosen channels of every sample, (N, K) int64."""
    known = f"through: module {name!r} hands on {shape}, so a channel is one of 0 to {shape[1] - 1}"
    if isinstance(channels, Tensor) and channels.dim():
        if channels.is_complex() or channels.dim() > 2 or len(channels) != shape[0] or not channels.numel():
            raise InputError(f"{known}: expected ({shape[0]},) or ({shape[0]}, K) of them, not {tuple(channels.shape)}")
        indices = channels.detach().reshape(shape[0], -1).long()
    else:
        several = channels if isinstance(channels, Sequence) and not isinstance(channels, str) else [channels]
        if not several or any(isinstance(each, bool) or not hasattr(each, "__index__") for each in several):
            raise InputError(f"{known}, not {channels!r}")
        indices = torch.tensor([[index(each) for each in several]]).expand(shape[0], -1)
    if bool(((indices < -shape[1]) | (indices >= shape[1])).any()):
        raise InputError(f"{known}, not {channels if not isinstance(channels, Tensor) else indices.flatten().tolist()}")
    return indices % shape[1]
