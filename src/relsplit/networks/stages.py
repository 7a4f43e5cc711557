"""The stages of a network: its top-level parts that have weights."""

import typing

from torch import nn

from relsplit.errors import InputError


@typing.runtime_checkable
class Layer(typing.Protocol):
    """A module that can draw its weights anew."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""


def stages(model: nn.Module) -> list[str]:
    """Return the model's top-level parts that have weights, from the output to the input.

    For torchvision's ResNet: fc, layer4, layer3, layer2, layer1, bn1, conv1. A model that is a wrapper around a
    single part is looked into.

    Raises:
        InputError: no part has weights that can be drawn anew.
    """
    prefix, root = "", model
    while True:
        parts = [(name, part) for name, part in root.named_children() if layers_with_weights(part)]
        if len(parts) != 1 or not any(layers_with_weights(part) for part in parts[0][1].children()):
            break
        prefix, root = f"{prefix}{parts[0][0]}.", parts[0][1]
    if not parts:
        raise InputError(f"{type(model).__name__} has no part with weights that can be drawn anew")
    return [prefix + name for name, _ in reversed(parts)]


def layers_with_weights(part: nn.Module) -> list[Layer]:
    """Return the modules of ``part`` that hold weights of their own and can draw them anew."""
    return [m for m in part.modules() if isinstance(m, Layer) and list(m.parameters(recurse=False))]
