"""Ways in which a network becomes another one, and the same network written down plainly.

Each change works on any network of ``small_networks``: it looks for the layer that it needs. ``apply`` changes the
network where it stands, as users do behind an explainer's back; ``plain`` returns a new network that computes the same
with nothing but modules and weights.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.utils as U
import torch.nn.utils.prune as prune
from torch import Tensor, nn


class Affine(nn.Module):
    """(x - shift) * scale."""

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) * self.scale


def first(network: nn.Module, *kinds: type[nn.Module]) -> str | None:
    """Name of the first module of one of these kinds."""
    return next((name for name, module in network.named_modules() if isinstance(module, kinds)), None)


def second_layer(network: nn.Module) -> str:
    """A layer with weights in the middle: a convolution without bias, or a linear layer."""
    layers = [n for n, m in network.named_modules() if type(m) in (nn.Conv2d, nn.Linear)]
    return layers[1]


@dataclass(frozen=True)
class Change:
    """One way to change a network.

    Attributes:
        name: of the change.
        needs: kinds of module, one of which it needs.
        prepare: makes the network ready before an explainer is made of it.
        apply: changes it.
        plain: what is to become of a copy of the unprepared network, so that it computes the same.
    """

    name: str
    apply: Callable[[nn.Module], object]
    plain: Callable[[nn.Module], nn.Module | None]
    needs: tuple[type[nn.Module], ...] = (nn.Module,)
    prepare: Callable[[nn.Module], object] = lambda network: None

    def fits(self, network: nn.Module) -> bool:
        return first(network, *self.needs) is not None


def scaled(network: nn.Module, factor: float = 1.5) -> None:
    layer = network.get_submodule(second_layer(network))
    layer.load_state_dict({key: value * factor for key, value in layer.state_dict().items()})


def through_data(network: nn.Module) -> None:
    for parameter in network.get_submodule(second_layer(network)).parameters():
        parameter.data.mul_(1.5)


def one_weight_through_data(network: nn.Module) -> None:
    weight = network.get_submodule(second_layer(network)).weight
    weight.data.view(-1)[17] += 3.0


def one_weight(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    content = layer.state_dict()
    content["weight"] = content["weight"].clone()
    content["weight"].view(-1)[17] += 3.0
    layer.load_state_dict(content)


def under_inference_mode(network: nn.Module) -> None:
    with torch.inference_mode():
        through_data(network)


def replaced_parameter(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(parameter.detach() * 1.5))


def hook_on(network: nn.Module) -> None:
    network.get_submodule(second_layer(network)).register_forward_hook(lambda module, args, output: output * 1.5)


def followed(network: nn.Module) -> None:
    name = second_layer(network)
    network.set_submodule(name, nn.Sequential(network.get_submodule(name), Affine(1.5)))


def pre_hook_on(network: nn.Module) -> None:
    name = first(network, nn.Conv2d)
    network.get_submodule(name).register_forward_pre_hook(lambda module, args: ((args[0] - 0.45) * 2.0,))


def preceded(network: nn.Module) -> None:
    name = first(network, nn.Conv2d)
    network.set_submodule(name, nn.Sequential(Affine(2.0, 0.45), network.get_submodule(name)))


def pre_hook_on_all(network: nn.Module) -> None:
    network.register_forward_pre_hook(lambda module, args: ((args[0] - 0.45) * 2.0,))


def method_replaced(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    before = layer.forward
    layer.forward = lambda x: before(x) * 1.5


def weight_norm(network: nn.Module) -> None:
    U.weight_norm(network.get_submodule(second_layer(network)))


def load_into_weight_norm(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    layer.load_state_dict({k: v * (1.5 if k.endswith("_g") else 1.0) for k, v in layer.state_dict().items()})


def weight_normed(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    layer.load_state_dict({k: v * (1.5 if k == "weight" else 1.0) for k, v in layer.state_dict().items()})


def pruned(network: nn.Module) -> None:
    prune.l1_unstructured(network.get_submodule(second_layer(network)), "weight", amount=0.5)


def step_on_pruned(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    with torch.no_grad():
        layer.weight_orig.mul_(1.5)


def prune_for_good(network: nn.Module) -> None:
    layer = network.get_submodule(second_layer(network))
    prune.l1_unstructured(layer, "weight", amount=0.5)
    prune.remove(layer, "weight")
    with torch.no_grad():
        layer.weight.mul_(1.5)


def attribute_set(kinds: tuple[type[nn.Module], ...], name: str, value: Any) -> Callable[[nn.Module], None]:
    def change(network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, kinds):
                setattr(module, name, value)
                return

    return change


def activation_exchanged(network: nn.Module) -> None:
    network.set_submodule(first(network, nn.ReLU, nn.GELU), nn.Tanh())


BATCH_NORM = (nn.BatchNorm2d, nn.LayerNorm)
CHANGES = (
    Change("weights loaded", scaled, scaled),
    Change("weights through .data", through_data, scaled),
    Change("one weight through .data", one_weight_through_data, one_weight),
    Change("weights under inference mode", under_inference_mode, scaled),
    Change("a parameter replaced", replaced_parameter, scaled),
    Change("a forward hook on a layer", hook_on, followed),
    Change("a pre-hook on a layer", pre_hook_on, preceded, needs=(nn.Conv2d,)),
    Change("a pre-hook on the network", pre_hook_on_all, preceded, needs=(nn.Conv2d,)),
    Change("a layer's method replaced", method_replaced, followed),
    Change("weight_norm, then a checkpoint", load_into_weight_norm, weight_normed, prepare=weight_norm),
    Change("prune, then a step", step_on_pruned, prune_for_good, prepare=pruned),
    Change(
        "dilation of a convolution",
        attribute_set((nn.Conv2d,), "dilation", (2, 2)),
        attribute_set((nn.Conv2d,), "dilation", (2, 2)),
        needs=(nn.MaxPool2d,),  # a transformer would get another number of tokens
    ),
    Change("eps of a norm", attribute_set(BATCH_NORM, "eps", 0.8), attribute_set(BATCH_NORM, "eps", 0.8)),
    Change(
        "stride of a pooling",
        attribute_set((nn.MaxPool2d,), "stride", 1),
        attribute_set((nn.MaxPool2d,), "stride", 1),
        needs=(nn.MaxPool2d,),
    ),
    Change("an activation exchanged", activation_exchanged, activation_exchanged, needs=(nn.ReLU,)),
)


def plain_network(change: Change, network: nn.Module) -> nn.Module:
    """A copy of the unprepared ``network`` that computes what ``change`` makes of it."""
    copied = copy.deepcopy(network)
    return change.plain(copied) or copied
