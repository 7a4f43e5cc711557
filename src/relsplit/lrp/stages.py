"""Relevance inside a network: at the outputs of named modules, or at its last cut of every resolution."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, fx

from relsplit.errors import InputError
from relsplit.lrp.graph.tracing import layer_path, module_paths
from relsplit.lrp.operations.operation import Passed
from relsplit.lrp.program import Program

ALL = "all"
"""Asks for relevance at every resolution."""


def stages(program: Program, at: str | Sequence[str], size: torch.Size) -> "AtModules | AtStages":
    """Return what keeps relevance at the places ``at``: a module's path, several, or "all" resolutions.

    Args:
        program: of the network.
        at: see :meth:`relsplit.LRP.attribute`.
        size: (H, W) of the images.

    Raises:
        InputError: the network has no such module.
    """
    if at == ALL:
        return AtStages(program, size)
    return AtModules(program, [at] if isinstance(at, str) else list(at))


class AtModules:
    """Relevance of the outputs of modules; of a module that is called several times, of the last call's.

    Args:
        program: of the network.
        names: paths of modules, "layer3", "layer3.0.conv1".

    Raises:
        InputError: the network has no such module on the way from the image to the output.
    """

    def __init__(self, program: Program, names: Sequence[str]) -> None:
        known = dict.fromkeys(path for node in program.operations for path in _modules_at(node))
        for name in names:
            if name not in known:
                top = ", ".join(dict.fromkeys(path.partition(".")[0] for path in known if path))
                raise InputError(f"at: no module on the way of relevance is called {name!r}: the network has {top}")
        self._names = list(names)
        self._found: dict[str, Tensor] = {}

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """Keep what arrives at the last node of a module, which is the first one that is met on the way back."""
        paths = _modules_at(node)
        for name in self._names:
            if name in paths:
                self._found.setdefault(name, relevance)

    def by_name(self) -> dict[str, Tensor]:
        """Return relevance by module, in the order of the names.

        Raises:
            InputError: no relevance came by one of the modules.
        """
        for name in self._names:
            if name not in self._found:
                raise InputError(f"at: no relevance passes module {name!r}")
        return {name: self._found[name].contiguous() for name in self._names}


class AtStages:
    """Relevance at the last cut of every resolution: a place that all of it passes, so that its sum is the start.

    Args:
        program: of the network.
        size: (H, W) of the images; feature maps have about the same proportions, channels first or last.
    """

    def __init__(self, program: Program, size: torch.Size) -> None:
        self._cuts = _cuts(program)
        self._size = size
        self._found: dict[tuple[int, ...], tuple[str, Tensor]] = {}

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """Keep what arrives at a cut with a resolution that has not been met yet."""
        if node.op == "placeholder":
            self._found[()] = ("input", relevance)
        elif node in self._cuts and relevance.dim() == 4:
            for feature_map in (relevance, relevance.movedim(3, 1)):
                resolution = feature_map.shape[2:]
                if resolution.numel() > 1 and _alike(resolution, self._size):
                    self._keep(resolution, layer_path(node) or node.name, feature_map)
                    break

    def _keep(self, resolution: torch.Size, name: str, relevance: Tensor) -> None:
        # What is larger nearer to the output was padded or repeated: it shows nothing that this does not show.
        for enlarged in [found for found in self._found if math.prod(found) > resolution.numel()]:
            del self._found[enlarged]
        self._found.setdefault(tuple(resolution), (name, relevance))

    def by_name(self) -> dict[str, Tensor]:
        """Return relevance (N, C, h, w) by the path of the module that ends a stage, from the image ("input") on."""
        return {name: relevance.contiguous() for name, relevance in reversed(self._found.values())}


def _modules_at(node: fx.Node) -> tuple[str, ...]:
    """Return the paths of the modules that ``node`` belongs to, and of the one that it calls."""
    return (*module_paths(node), layer_path(node))


def is_feature_map(relevance: Tensor, images: Tensor) -> bool:
    """Say whether relevance is that of a feature map (N, C, h, w) with about the proportions of ``images``."""
    return relevance.dim() == 4 and _alike(relevance.shape[2:], images.shape[2:])


def _alike(resolution: torch.Size, size: torch.Size) -> bool:
    """Say whether a feature map has the proportions of the images, up to rounding of its sides."""
    (height, width), (full_height, full_width) = resolution, size
    return abs(height * full_width - width * full_height) < max(size) and height <= full_height


def _cuts(program: Program) -> set[fx.Node]:
    """Nodes that hold all relevance when they are passed on the way back."""
    cuts: set[fx.Node] = set()
    waiting, nodes = {program.output}, list(program.operations)
    for node in reversed(nodes):
        if node in waiting:
            waiting.remove(node)
            if not waiting:
                cuts.add(node)
            waiting.update(program.operations[node].sources)
    return cuts
