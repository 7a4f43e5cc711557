"""A network's layers by name, and the feature maps that they return."""

import re

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.networks.described import described
from relsplit.networks.feature_maps import Layout, layout, rows_are_channels
from relsplit.networks.inputs import Inputs, as_inputs
from relsplit.networks.outputs import obvious_part
from relsplit.networks.views import unwrapped

_IN_COLUMNS = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.MaxPool1d, nn.AvgPool1d)
"""Modules that have the steps of a signal in columns, (N, C, l)."""
_IN_ROWS = (nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.RNNBase, nn.TransformerEncoderLayer)
"""Modules that have them in rows, (N, l, C)."""


AUTO = "auto"
"""In place of a layer's name: the last one that returns a feature map."""
PUBLISHED = "published"
"""In place of a layer's name: the paper's, which ResNets have; of other networks the last one with a feature map."""
_OF_RESNETS = "layer4[-1]"


def layer_name(network: nn.Module, target_layer: str) -> str:
    """Return the name of a layer that is there, or :data:`AUTO`.

    Args:
        network: where to look.
        target_layer: a name, :data:`AUTO` or :data:`PUBLISHED`.

    Raises:
        InputError: no such module.
    """
    if target_layer == PUBLISHED:
        return _OF_RESNETS if list(getattr(unwrapped(network), "layer4", nn.Sequential()).children()) else AUTO
    if target_layer != AUTO:
        find_layer(network, target_layer)
    return target_layer


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return module ``name`` of ``network``; ``layer4[-1]`` and ``layer4.2`` are both understood.

    Args:
        network: where to look.
        name: path of a module.

    Raises:
        InputError: no such module; the message lists what there is at the place where the search ended.
    """
    module, path = unwrapped(network), ""
    for step in re.sub(r"\[(-?\d+)\]", r".\1", name).split("."):
        children = dict(module.named_children())
        key = step
        if re.fullmatch(r"-\d+", step) and int(step) >= -len(children):
            key = list(children)[int(step)]
        if key not in children:
            where = f"{path} has" if path else f"{type(module).__name__} has"
            raise InputError(
                f"target_layer: there is no {name!r}; {where} {', '.join(children) or 'no modules inside'}; "
                "choose one of these or auto"
            )
        module, path = children[key], f"{path}.{key}" if path else key
    return module


def last_spatial_layer(network: nn.Module, given: "Tensor | Inputs") -> nn.Module:
    """Return the module that is the last to return a feature map of more than one cell.

    What a feature map is says :func:`relsplit.networks.feature_maps.layout`.
    Where the network answers at every place, the scores' own maps do not count.
    Of a transformer's tokens, it is the last map in which the answer still depends on more than the class token: after
    the last attention it depends on nothing else.

    Args:
        network: in eval mode.
        given: images (N, C, H, W), signals (N, C, L) or volumes (N, C, D, H, W); one is enough.

    Raises:
        InputError: no module does.
    """
    inputs = as_inputs(given)
    images = inputs.tensors[0]
    size = tuple(images.shape[2:])
    steps = _Steps(network)
    maps: list[tuple[nn.Module, Layout, Tensor]] = []

    def remember(module: nn.Module, _inputs: object, output: object) -> Tensor | None:
        found = layout(output, len(images), size, steps.are_rows)
        if found is None or not isinstance(output, Tensor) or found.cells == 1:
            return None
        if found.kind == "tokens":
            before = (earlier.grid(kept) for _, earlier, kept in reversed(maps) if earlier.kind != "tokens")
            below = next(before, None)
            are_channels = rows_are_channels(output.shape, None if below is None else below.shape, (size[0], size[1]))
            if are_channels is None and below is not None:
                are_channels = torch.equal(output, below.flatten(2))
            if are_channels:
                return None
        # What is read as a map has to be a node of the graph; what follows may change it in place.
        kept = output.clone() if output.requires_grad else output.detach().requires_grad_()
        maps.append((module, found, kept))
        return kept.clone()

    # Not the network itself: it ends last, and a CAM of its output is no CAM.
    inside = [m for m in network.modules() if m is not network and not isinstance(m, torch.jit.ScriptModule)]
    handles = [*steps.handles, *(module.register_forward_hook(remember) for module in inside)]
    try:
        with torch.enable_grad():
            output = obvious_part(inputs.answered(network))
    finally:
        for handle in handles:
            handle.remove()
    maps = _without_scores(maps, output, layout(output, len(images), size, steps.are_rows))
    if not maps:
        raise InputError(
            f"target_layer: no module of {type(network).__name__} returns a feature map of more than one cell, besides "
            f"what it returns itself, {described(output)}"
        )
    if maps[-1][1].kind != "tokens":
        return maps[-1][0]
    return _last_tokens_read(maps, output)


def _without_scores(
    maps: "list[tuple[nn.Module, Layout, Tensor]]", output: object, of_output: Layout | None
) -> "list[tuple[nn.Module, Layout, Tensor]]":
    """Leave out the last maps where they are a dense output's scores, enlarged at most: a CAM of these is none."""
    if of_output is None or of_output.cells == 1 or not isinstance(output, Tensor):
        return maps
    scores = of_output.grid(output).shape[1]
    while maps and maps[-1][1].grid(maps[-1][2]).shape[1] == scores:
        maps = maps[:-1]
    return maps


class _Steps:
    """Follows whether a network of signals has the steps in rows (N, l, C) or, as a convolution has, in columns."""

    def __init__(self, network: nn.Module) -> None:
        self.are_rows: bool | None = None
        leaves = [module for module in network.modules() if isinstance(module, _IN_COLUMNS + _IN_ROWS)]
        self.handles = [module.register_forward_hook(self._see) for module in leaves]

    def _see(self, module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 3:
            self.are_rows = isinstance(module, _IN_ROWS)


def _last_tokens_read(maps: "list[tuple[nn.Module, Layout, Tensor]]", output: Tensor) -> nn.Module:
    width = maps[-1][2].shape[-1]
    # Queries, keys and values together, and the hidden layers of an MLP, are tokens of another width.
    tokens = [each for each in maps if each[1].kind == "tokens" and each[2].shape[-1] == width]
    with torch.enable_grad():
        whole = output.flatten(1).square().sum()
    gradients = torch.autograd.grad(whole, [kept for *_, kept in tokens], materialize_grads=True)
    for (module, found, _), gradient in zip(reversed(tokens), reversed(gradients), strict=True):
        if bool(found.grid(gradient).count_nonzero()):
            return module
    return tokens[-1][0]


def layer_output(network: nn.Module, layer: nn.Module, name: str, given: "Tensor | Inputs") -> tuple[Tensor, Tensor]:
    """Return what ``network`` answers and the feature map (N, C, ...) that ``layer`` returned.

    Args:
        network: one that this call alone uses; gradients are recorded, if they are, from the layer's output on.
        layer: a module of it.
        name: what the layer is called in an error.
        given: see :func:`last_spatial_layer`.

    Returns:
        The network's output, and the layer's; the latter requires gradients where they are recorded.

    Raises:
        InputError: the layer returns no feature map, or one of a single cell, or is not used.
    """
    found: list[Tensor] = []
    inputs = as_inputs(given)
    images = inputs.tensors[0]
    steps = _Steps(network)

    def keep(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        arranged = layout(output, len(images), tuple(images.shape[2:]), steps.are_rows)
        if arranged is None or not isinstance(output, Tensor):
            raise InputError(
                f"target_layer: {type(layer).__name__} does not return one feature map (N, C, h, w), (N, h, w, C) or "
                f"tokens of a grid, but {described(output)}; choose another layer than {name}, or auto"
            )
        if arranged.cells == 1:
            raise InputError(
                f"target_layer: {name} returns a map of a single cell, which says nothing of places; choose a layer "
                "before it or auto"
            )
        # A leaf of its own: nothing before the layer needs a graph. And copies, because the next step may change the
        # activation in place.
        activation = arranged.grid(output).detach().clone().requires_grad_(torch.is_grad_enabled())
        found.append(activation)
        return arranged.back(activation, output.detach())

    if isinstance(layer, torch.jit.ScriptModule):
        raise InputError(f"target_layer: {name} is compiled by TorchScript and cannot be looked into; choose another")
    handles = [*steps.handles, layer.register_forward_hook(keep)]
    try:
        answer = inputs.answered(network)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise InputError(f"target_layer: {name} is not used in the forward pass; choose another layer or auto")
    return answer, found[-1]


def channel_count(network: nn.Module, layer: nn.Module) -> int:
    """Return the channels of ``layer``, read off the last convolution or normalisation in it or before it; else 0."""
    inside = {id(module) for module in layer.modules()}
    channels, reached = 0, False
    for module in network.modules():
        if reached and id(module) not in inside:
            break
        reached = reached or id(module) in inside
        channels = getattr(module, "out_channels", getattr(module, "num_features", channels))
    return int(channels)
