"""A network's layers by name, and the feature maps that they return."""

import re

import torch
from torch import Tensor, nn

from relsplit.errors import InputError


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return module ``name`` of ``network``; ``layer4[-1]`` and ``layer4.2`` are both understood.

    Args:
        network: where to look.
        name: path of a module.

    Raises:
        InputError: no such module; the message lists what there is at the place where the search ended.
    """
    module, path = network, ""
    for step in re.sub(r"\[(-?\d+)\]", r".\1", name).split("."):
        children = dict(module.named_children())
        key = step
        if re.fullmatch(r"-\d+", step) and int(step) >= -len(children):
            key = list(children)[int(step)]
        if key not in children:
            where = f"{path} has" if path else f"{type(network).__name__} has"
            raise InputError(
                f"target_layer: there is no {name!r}; {where} {', '.join(children) or 'no modules inside'}; "
                "choose one of these or auto"
            )
        module, path = children[key], f"{path}.{key}" if path else key
    return module


def last_spatial_layer(network: nn.Module, images: Tensor) -> nn.Module:
    """Return the module that is the last to return a (N, C, h, w) with more than one position.

    Args:
        network: in eval mode.
        images: (N, 3, H, W); one image is enough.

    Raises:
        InputError: no module does.
    """
    spatial: list[nn.Module] = []

    def remember(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            spatial.append(module)

    # Not the network itself: it ends last, and a CAM of its output is no CAM.
    handles = [module.register_forward_hook(remember) for module in network.modules() if module is not network]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    if not spatial:
        raise InputError(f"target_layer: no module of {type(network).__name__} returns a feature map (N, C, h, w)")
    return spatial[-1]


def layer_output(network: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """Return the activation (N, C, h, w) of ``layer``, a module of ``network``, for ``images``, without gradients.

    Raises:
        InputError: the layer does not return one feature map.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        # A copy: the next step may change the activation in place.
        outputs.append(feature_map(layer, output).clone())

    handle = layer.register_forward_hook(keep)
    try:
        with torch.no_grad():
            network(images)
    finally:
        handle.remove()
    if not outputs:
        raise InputError(f"target_layer: {type(layer).__name__} is not used in the forward pass")
    return outputs[-1]


def feature_map(layer: nn.Module, output: object) -> Tensor:
    """Return ``output`` of ``layer`` if it is a feature map.

    Raises:
        InputError: it is not a tensor (N, C, h, w).
    """
    if not isinstance(output, Tensor) or output.ndim != 4:
        raise InputError(f"target_layer: {type(layer).__name__} does not return one feature map (N, C, h, w)")
    return output


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
