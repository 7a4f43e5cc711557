"""Relevance inside a network: at the outputs of named modules, or at its last cut of every resolution."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.lrp.positions import is_alike, on_grid
from relsplit.lrp.recording.network import Recording
from relsplit.lrp.recording.step import Passed, Step
from relsplit.networks.inputs import Inputs

ALL = "all"
"""Asks for relevance at every resolution."""


def stages(recording: Recording, at: str | Sequence[str], inputs: Inputs) -> "AtModules | AtStages":
    """Return what keeps relevance at the places ``at``: a module's path, several, or "all" resolutions.

    Args:
        recording: of the network.
        at: see :meth:`relsplit.LRP.attribute`.
        inputs: of the network.

    Raises:
        InputError: the network has no such module, or it is not images whose resolutions are asked for.
    """
    if at == ALL:
        return AtStages(inputs.images(f"at={ALL!r}").shape[2:])
    if not isinstance(at, Sequence):
        raise InputError(f"at: expected the path of a module, several, or {ALL!r}, not {at!r}")
    return AtModules(recording, [at] if isinstance(at, str) else list(at))


class AtModules:
    """Relevance of the outputs of modules; of a module that is called several times, of the last call's.

    Args:
        recording: of the network.
        names: paths of modules, "layer3", "layer3.0.conv1".

    Raises:
        InputError: the network has no such module.
    """

    def __init__(self, recording: Recording, names: Sequence[str]) -> None:
        known = recording.recorder.module_paths()
        for name in names:
            if name not in known:
                top = ", ".join(dict.fromkeys(path.partition(".")[0] for path in known if path))
                raise InputError(f"at: no module on the way of relevance is called {name!r}: the network has {top}")
        self._names = list(names)
        self._found: dict[str, Tensor] = {}

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """Keep what arrives at the last step of a module, which is the first one that is met on the way back."""
        for name in self._names:
            if step.path == name or step.path.startswith(f"{name}."):
                self._found.setdefault(name, relevance)

    def by_name(self) -> dict[str, Tensor]:
        """Return relevance by module, in the order of the names.

        Raises:
            InputError: no relevance came by one of the modules.
        """
        for name in self._names:
            if name not in self._found:
                raise InputError(
                    f"at: no relevance passes module {name!r}: it is off its way, or does nothing (nn.Identity)"
                )
        return {name: self._found[name].contiguous() for name in self._names}


class AtStages:
    """Relevance at the last cut of every resolution: a place that all of it passes, so that its sum is the start.

    Args:
        size: (H, W) of the images; feature maps have about the same proportions, channels first or last.
    """

    def __init__(self, size: torch.Size) -> None:
        self._size = size
        self._found: dict[tuple[int, ...], tuple[str, Tensor]] = {}

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """Keep what arrives at a cut with a resolution that has not been met yet."""
        if step.is_input:
            # A network may scale its pixels itself before its first layer: these are the pixels once more.
            resolution = tuple(relevance.shape[2:])
            if resolution in self._found and torch.equal(self._found[resolution][1], relevance):
                del self._found[resolution]
            self._found[()] = ("input", relevance)
        elif step.is_cut and not step.is_inside and relevance.dim() == 4:
            feature_map = on_grid(relevance, self._size)
            if feature_map is not None:
                self._keep(feature_map.shape[2:], step.path or step.operation, feature_map)

    def _keep(self, resolution: torch.Size, name: str, relevance: Tensor) -> None:
        # What is larger nearer to the output was padded or repeated: it shows nothing that this does not show.
        for enlarged in [found for found in self._found if math.prod(found) > resolution.numel()]:
            del self._found[enlarged]
        self._found.setdefault(tuple(resolution), (name, relevance))

    def by_name(self) -> dict[str, Tensor]:
        """Return relevance (N, C, h, w) by the path of the module that ends a stage, from the image ("input") on."""
        return {name: relevance.contiguous() for name, relevance in reversed(self._found.values())}


def is_feature_map(relevance: Tensor, images: Tensor) -> bool:
    """Say whether relevance is that of a feature map (N, C, h, w) with about the proportions of ``images``."""
    return relevance.dim() == 4 and is_alike(relevance.shape[2:], images.shape[2:])
