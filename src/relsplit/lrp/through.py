"""Relevance that passes chosen channels of modules, and no other: what a concept of the network has to do with a map.

Achtibat et al. (2023) call this concept-conditional relevance. All maps of a module's channels together are what passes
the module.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.lrp.recording.network import Recording
from relsplit.lrp.recording.step import Step
from relsplit.lrp.walk import Watch, walk_back

Through = Mapping[str, "int | Tensor"]
"""By the paths of modules: a channel of what each hands on (along its second dimension), or a mask to multiply by."""


def passed_through(recording: Recording, start: Tensor, through: Through) -> tuple[Recording, Tensor]:
    """Carry relevance to modules, and keep what is of the chosen channels there.

    Args:
        recording: of the network; what lies behind the modules is used up.
        start: relevance of its result.
        through: the modules; the one nearest to the output comes first, in whatever order they are named.

    Returns:
        The recording as if it ended at the last module, and the relevance there.

    Raises:
        InputError: there is no such module, no relevance passes it, or what it hands on has no such channel.
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
        raise InputError(f"through: no relevance passes module {name!r}")
    return found


def _chosen(relevance: Tensor, channel: "int | Tensor", name: str, count: int) -> Tensor:
    shape = tuple(relevance.shape)
    if len(shape) < 2 or shape[0] != count:
        raise InputError(f"through: what module {name!r} hands on, {shape}, has no channels of {count} samples")
    if isinstance(channel, Tensor):
        try:
            mask = channel.detach().to(relevance).expand(shape)
        except RuntimeError:
            raise InputError(
                f"through: a mask {tuple(channel.shape)} does not fit what module {name!r} hands on, {shape}"
            ) from None
        return relevance * mask
    if isinstance(channel, bool) or not isinstance(channel, int) or not -shape[1] <= channel < shape[1]:
        raise InputError(f"through: module {name!r} hands on {shape}, so a channel is one of 0 to {shape[1] - 1}")
    kept = torch.zeros_like(relevance)
    kept[:, channel] = relevance[:, channel]
    return kept
