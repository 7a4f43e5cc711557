"""Every explainer explains the network that answers: its hooks, its settings and its weights as they are now.

A *twin* is the same network in which what the first one does by a hook or was changed to later is written into its
class; both must get the same map from the same method.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from explainer_classes import image_size, one_for_each_class
from explainer_configs import build
from small_networks import seeded_images, small_network
from torch import Tensor, nn
from torch.nn.utils import prune

from relsplit.errors import InputError

METHODS = one_for_each_class(that_look_at_the_network=True)


def images(name: str) -> Tensor:
    """For the network of ``name``."""
    return seeded_images(2, size=image_size(name))


def same_class_but(network: nn.Module, forward: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> nn.Module:
    """The network with ``forward(its own forward, images)`` as its forward, by a class of its own."""
    base: Any = type(network)

    class Twin(base):
        def forward(self, x: Tensor) -> Tensor:
            return forward(super().forward, x)

    twin = copy.deepcopy(network)
    twin.__class__ = Twin
    return twin


def first_convolution(network: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds it, and its name there."""
    path = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    holder, _, name = path.rpartition(".")
    return network.get_submodule(holder), name


def inner_weight(network: nn.Module) -> nn.Parameter:
    """The weight of the third layer with one."""
    return [module.weight for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))][2]


def alike(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max()))


def assert_explained_alike(name: str, network: nn.Module, twin: nn.Module, explainer: Any = None) -> None:
    """Check that both get the same map, or that the method has no rule for either."""
    x = images(name)
    torch.testing.assert_close(network(x), twin(x))
    try:
        expected = build(name, twin).attribute(x, 1)
    except InputError:
        with pytest.raises(InputError):
            (explainer or build(name, network)).attribute(x, 1)
    else:
        alike((explainer or build(name, network)).attribute(x, 1), expected)


@pytest.mark.parametrize("name", METHODS)
def test_a_hook_that_normalises_the_images(name: str) -> None:
    network = small_network(name)
    twin = same_class_but(network, lambda forward, x: forward((x - 0.45) / 0.2))
    network.register_forward_pre_hook(lambda _module, args: ((args[0] - 0.45) / 0.2,))
    if name == "abn":  # its map is made by another method than the one that the twin has of its own
        expected = build(name, small_network(name)).attribute((images(name) - 0.45) / 0.2, 1)
        alike(build(name, network).attribute(images(name), 1), expected)
    else:
        assert_explained_alike(name, network, twin)


@pytest.mark.parametrize("name", METHODS)
def test_a_hook_that_divides_by_a_temperature(name: str) -> None:
    network = small_network(name)
    twin = same_class_but(network, lambda forward, x: forward(x) / 0.1)
    network.register_forward_hook(lambda _module, _args, output: output / 0.1)
    assert_explained_alike(name, network, twin)


@pytest.mark.parametrize("name", METHODS)
def test_a_hook_on_a_layer_inside_that_comes_later(name: str) -> None:
    network, twin = small_network(name), small_network(name)
    explainer = build(name, network)
    before = explainer.attribute(images(name), 1)
    holder, child = first_convolution(network)
    getattr(holder, child).register_forward_hook(lambda _module, _args, output: output.clamp(min=0))
    holder, child = first_convolution(twin)
    setattr(holder, child, nn.Sequential(getattr(holder, child), nn.ReLU()).eval())
    assert_explained_alike(name, network, twin, explainer)
    assert not torch.allclose(explainer.attribute(images(name), 1), before, rtol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_guard_that_asks_for_a_tensor(name: str) -> None:
    network = small_network(name)
    guarded = same_class_but(
        network, lambda forward, x: forward((x - 0.45) / 0.2 if type(x) is Tensor else x * 0)
    )  # fmt: skip
    twin = same_class_but(network, lambda forward, x: forward((x - 0.45) / 0.2))
    assert_explained_alike(name, guarded, twin)


def other_eps(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            module.eps = 3.0


def other_activation(network: nn.Module) -> None:
    for module in list(network.modules()):
        for child, activation in list(module.named_children()):
            if isinstance(activation, (nn.ReLU, nn.GELU)):
                setattr(module, child, nn.Tanh())


def other_stride(network: nn.Module) -> None:
    holder, child = first_convolution(network)
    convolution = getattr(holder, child)
    if convolution.stride == (2, 2):  # a transformer's would not fit its positions
        convolution.stride = (1, 1)


SETTINGS: dict[str, Callable[[nn.Module], None]] = {
    "eps": other_eps,
    "activation": other_activation,
    "stride": other_stride,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", METHODS)
def test_a_setting_that_changes_meanwhile(name: str, setting: str) -> None:
    network, twin = small_network(name), small_network(name)
    if setting == "stride" and first_convolution(network)[0].__class__.__name__ == "SmallViT":
        pytest.skip("a patch embedding's stride is its kernel's size")
    explainer = build(name, network)
    explainer.attribute(images(name), 1)
    SETTINGS[setting](network)
    SETTINGS[setting](twin)
    assert_explained_alike(name, network, twin, explainer)


WRITES: dict[str, Callable[[Tensor], None]] = {
    "one entry": lambda weight: weight.data.view(-1)[weight.numel() // 2 + 1].mul_(-3).add_(2),
    "two rows swapped": lambda weight: weight.data.copy_(weight.data.flip(0)),
    "inference mode": lambda weight: _under_inference_mode(weight),
    "all negated": lambda weight: weight.data.neg_(),
}


def _under_inference_mode(weight: Tensor) -> None:
    with torch.inference_mode():
        weight.data.view(-1)[-1] += 2


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", METHODS)
def test_a_weight_that_changes_in_silence(name: str, write: str) -> None:
    network = small_network(name)
    explainer = build(name, network)
    explainer.attribute(images(name), 1)
    WRITES[write](network.fc.weight if write == "all negated" else inner_weight(network))
    fresh = copy.deepcopy(network)
    expected = build(name, fresh).attribute(images(name), 1)
    alike(explainer.attribute(images(name), 1), expected)
    alike(build(name, network).attribute(images(name), 1), expected)


@pytest.mark.parametrize("kind", ["weight_norm", "prune"])
@pytest.mark.parametrize("name", METHODS)
def test_a_weight_that_a_hook_computes(name: str, kind: str) -> None:
    network, twin = small_network(name), small_network(name)
    holder, child = first_convolution(network)
    convolution = getattr(holder, child)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if kind == "weight_norm":
            nn.utils.weight_norm(convolution)
        else:
            prune.l1_unstructured(convolution, "weight", amount=0.5)
    network(images(name))  # a forward with gradients leaves a weight that is no leaf
    explainer = build(name, network)
    explainer.attribute(images(name), 1)
    with torch.no_grad():  # as a checkpoint does
        if kind == "weight_norm":
            convolution.weight_g.mul_(torch.linspace(0.3, 3, len(convolution.weight_g)).reshape(-1, 1, 1, 1))
            direction = convolution.weight_v
            size = direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            weight = convolution.weight_g * direction / size
        else:
            convolution.weight_orig.mul_(torch.linspace(0.3, 3, len(convolution.weight_orig)).reshape(-1, 1, 1, 1))
            weight = convolution.weight_orig * convolution.weight_mask
        found = explainer.attribute(images(name), 1)
        holder, child = first_convolution(twin)
        getattr(holder, child).weight.copy_(weight)
    alike(found, build(name, twin).attribute(images(name), 1))
