"""What is explained is what the network really does: its hooks, and the arms that its control flow really takes."""

from collections.abc import Callable

import pytest
import torch
from plain_networks import Normalise, Times, assert_explains_what_answers, plain
from torch import Tensor, nn

from relsplit import LRP


def in_between(index: int, module: nn.Module) -> nn.Sequential:
    """The plain network with a further module in front of its ``index``-th."""
    layers = list(plain())
    return nn.Sequential(*layers[:index], module, *layers[index:]).eval()


def normalising_pre_hook(network: nn.Module) -> nn.Module:
    network.register_forward_pre_hook(lambda _module, args: ((args[0] - 0.45) / 0.2,))
    return in_between(0, Normalise())


def pre_hook_with_keyword_arguments(network: nn.Module) -> nn.Module:
    network.register_forward_pre_hook(
        lambda _module, args, kwargs: (((args[0] - 0.45) / 0.2,), kwargs), with_kwargs=True
    )
    return in_between(0, Normalise())


def temperature_hook(network: nn.Module) -> nn.Module:
    network.register_forward_hook(lambda _module, _args, output: output / 0.25)
    return in_between(7, Times(4.0))


def hook_on_a_leaf(network: nn.Module) -> nn.Module:
    network[2].register_forward_hook(lambda _module, _args, output: output * 3)
    return in_between(3, Times(3.0))


def pre_hook_on_a_leaf(network: nn.Module) -> nn.Module:
    network[2].register_forward_pre_hook(lambda _module, args: (args[0] * 3,))
    return in_between(2, Times(3.0))


def hook_on_an_activation(network: nn.Module) -> nn.Module:
    network[1].register_forward_hook(lambda _module, _args, output: nn.functional.avg_pool2d(output, 2, 1))
    return in_between(2, nn.AvgPool2d(2, 1))


def two_hooks_in_their_order(network: nn.Module) -> nn.Module:
    network[0].register_forward_hook(lambda _module, _args, output: output - 0.1)
    network[0].register_forward_hook(lambda _module, _args, output: output * 3, prepend=True)

    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 3 - 0.1

    return in_between(1, Both())


def hook_that_writes_in_place(network: nn.Module) -> nn.Module:
    def write(_module: nn.Module, _args: object, output: Tensor) -> None:
        output.mul_(3)

    network[2].register_forward_hook(write)
    return in_between(3, Times(3.0))


def replaced_forward_of_a_leaf(network: nn.Module) -> nn.Module:
    before = network[2].forward
    network[2].forward = lambda x: before(x) * 3  # type: ignore[method-assign]
    return in_between(3, Times(3.0))


HOOKS: list[Callable[[nn.Module], nn.Module]] = [
    normalising_pre_hook,
    pre_hook_with_keyword_arguments,
    temperature_hook,
    hook_on_a_leaf,
    pre_hook_on_a_leaf,
    hook_on_an_activation,
    two_hooks_in_their_order,
    hook_that_writes_in_place,
    replaced_forward_of_a_leaf,
]


@pytest.mark.parametrize("change", HOOKS, ids=lambda change: change.__name__)
def test_what_hooks_change_is_explained(change: Callable[[nn.Module], nn.Module]) -> None:
    network = plain()
    twin = change(network)
    assert_explains_what_answers(LRP(network), network, twin)


@pytest.mark.parametrize("change", HOOKS, ids=lambda change: change.__name__)
def test_hooks_may_come_later(change: Callable[[nn.Module], nn.Module]) -> None:
    network = plain()
    lrp = LRP(network)
    assert_explains_what_answers(lrp, network, plain())
    twin = change(network)
    assert_explains_what_answers(lrp, network, twin)


def test_a_hook_may_go() -> None:
    network = plain()
    handle = network[2].register_forward_hook(lambda _module, _args, output: output * 3)
    lrp = LRP(network)
    assert_explains_what_answers(lrp, network, in_between(3, Times(3.0)))
    handle.remove()
    assert_explains_what_answers(lrp, network, plain())


def test_hooks_run_once_a_call() -> None:
    network, seen = plain(), []
    network[2].register_forward_hook(lambda _module, _args, output: seen.append(tuple(output.shape)))
    LRP(network).attribute(torch.rand(2, 3, 9, 9).double(), 1)
    assert seen == [(2, 12, 5, 5)]


class Guarded(nn.Module):
    """Normalises only where ``guard`` says that all is as in a plain call."""

    def __init__(self, guard: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.network = plain()
        self.guard = guard

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - 0.45) / 0.2 if self.guard(x) else x)


def concrete(x: Tensor) -> bool:
    """Whether a number can be read."""
    try:
        float(x.sum())
    except Exception:
        return False
    return True


GUARDS: dict[str, Callable[[Tensor], bool]] = {
    "isinstance": lambda x: isinstance(x, Tensor),
    "exact type": lambda x: type(x) is Tensor,
    "try": concrete,
    "value": lambda x: bool(x.mean() > 0),
    "shape": lambda x: x.shape[-1] == 9 and len(x) == 2,
    "number of elements": lambda x: x.numel() > 100,
    "not traced": lambda x: not torch.jit.is_tracing() and not torch.compiler.is_compiling(),
    "gradients": lambda x: torch.is_grad_enabled(),
    "hasattr": lambda x: hasattr(x, "data_ptr"),
}


@pytest.mark.parametrize("name", GUARDS)
def test_the_arm_that_is_taken_is_explained(name: str) -> None:
    network = Guarded(GUARDS[name]).eval()
    assert_explains_what_answers(LRP(network), network, nn.Sequential(Normalise(), plain()).eval())


def test_the_arm_without_gradients_is_explained_without_them() -> None:
    network = Guarded(GUARDS["gradients"]).eval()
    lrp = LRP(network)
    with torch.no_grad():
        assert_explains_what_answers(lrp, network, plain())
    assert_explains_what_answers(lrp, network, nn.Sequential(Normalise(), plain()).eval())


@pytest.mark.parametrize("version", [1, 2])
def test_torchvisions_transforms_in_front_are_explained(version: int) -> None:
    import torchvision.transforms
    import torchvision.transforms.v2

    transforms = torchvision.transforms if version == 1 else torchvision.transforms.v2
    network = nn.Sequential(transforms.Normalize([0.45] * 3, [0.2] * 3), plain()).eval()
    assert_explains_what_answers(LRP(network), network, nn.Sequential(Normalise(), plain()).eval())


def test_a_branch_by_value_is_taken_anew_at_each_call() -> None:
    network = Guarded(lambda x: bool(x.mean() > 0.5)).eval()
    lrp, bright, dark = LRP(network), torch.full((1, 3, 9, 9), 0.9).double(), torch.full((1, 3, 9, 9), 0.1).double()
    for x, twin in ((bright, nn.Sequential(Normalise(), plain())), (dark, plain()), (bright, None)):
        twin = twin or nn.Sequential(Normalise(), plain())
        relevance, sums = lrp.attribute(x, 2, return_sums=True)
        torch.testing.assert_close(sums["output"], network(x).softmax(1)[:, 2].detach())
        torch.testing.assert_close(relevance, LRP(twin.eval()).attribute(x, 2))
