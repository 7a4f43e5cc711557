"""A view answers what the network answers, in evaluation mode, and nothing done to it reaches the network."""

import copy
import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils as U
import torch.nn.utils.prune as prune
from torch import Tensor, nn

from relsplit.networks.tracing import traced
from relsplit.networks.views import is_as_written, running_view, shared_copy

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5)
    ).eval()


def hooked(net: Any) -> nn.Module:
    net[3].register_forward_hook(lambda module, args, output: output * 3)
    net[0].register_forward_pre_hook(lambda module, args: (args[0] - 0.4,))
    net.register_forward_hook(lambda module, args, kwargs, output: output / 0.3, with_kwargs=True)
    return net


def data_parallel(net: Any) -> nn.Module:
    wrapper = nn.DataParallel(hooked(net))
    wrapper.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    wrapper.register_forward_hook(lambda module, args, output: output + 1)
    return wrapper


def compiled(net: Any) -> nn.Module:
    net[3] = torch.compile(net[3], backend="eager")
    return torch.compile(net, backend="eager")


def compiled_in_place(net: Any) -> nn.Module:
    net.compile(backend="eager")
    return net


def replaced(net: Any) -> nn.Module:
    before, whole = net[3].forward, net.forward
    net[3].forward = lambda x: before(x) * 3
    net[0].forward = functools.partial(lambda module, x: type(module).forward(module, x) - 1, net[0])
    net.forward = lambda x, f=whole: f(x) / 0.3
    return net


class InALoop(nn.Module):
    """Its modules lie in a plain list, too; it counts, and keeps what it has computed."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.steps = list(net)
        self.registered = nn.ModuleList(self.steps)
        self.register_buffer("calls", torch.zeros(()))
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        for step in self.steps:
            x = step(x)
            self.kept.append(x)
        self.last = x
        return x


class Recurrent(nn.Module):
    """A module that keeps its weights twice."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net, self.lstm = net, nn.LSTM(5, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.net(x)[:, None])[0][:, 0]


def weight_normed(net: Any) -> nn.Module:
    U.weight_norm(net[3])
    U.spectral_norm(net[0])
    prune.l1_unstructured(net[5], "weight", amount=0.5)
    return net.eval()


def parametrised(net: Any) -> nn.Module:
    U.parametrizations.weight_norm(net[3])
    U.parametrizations.spectral_norm(net[0])
    return net.eval()


def scripted_part(net: Any) -> nn.Module:
    net[3] = torch.jit.script(net[3])
    return net


def made_in_inference_mode(net: Any) -> nn.Module:
    with torch.inference_mode():
        return network()


MAKERS = (
    lambda net: net,
    hooked,
    data_parallel,
    compiled,
    compiled_in_place,
    replaced,
    InALoop,
    Recurrent,
    weight_normed,
    parametrised,
    scripted_part,
    made_in_inference_mode,
    torch.fx.symbolic_trace,
)


@pytest.mark.parametrize("view", [running_view, shared_copy])
@pytest.mark.parametrize("make", MAKERS)
def test_a_view_answers_what_the_network_answers(make: Callable[[Any], nn.Module], view: Any) -> None:
    model = make(network()).eval()
    with torch.no_grad():
        expected = model(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(view(model)(IMAGES.clone()), expected)
    # In training mode, too: the view is in evaluation mode, and the network is not switched.
    model.train()
    state = {key: value.clone() for key, value in model.state_dict().items() if key != "calls"}
    with torch.no_grad():
        torch.testing.assert_close(view(model)(IMAGES.clone()), expected)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    assert model.training


@pytest.mark.parametrize("make", MAKERS)
def test_a_copy_can_be_differentiated_hooked_and_written_into(make: Callable[[Any], nn.Module]) -> None:
    model = make(network())
    with torch.no_grad():
        expected = model(IMAGES)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    copied = shared_copy(model)
    for module in copied.modules():
        if not isinstance(module, torch.jit.ScriptModule):
            module.register_forward_hook(lambda module, args, output: None)
    variable = IMAGES.clone().requires_grad_()
    output = copied(variable.clone())
    output.sum().backward()
    torch.testing.assert_close(output.detach(), expected)
    assert variable.grad is not None
    assert variable.grad.count_nonzero()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks


def test_what_a_forward_pass_writes_stays_in_the_copy_or_reaches_the_network() -> None:
    model = InALoop(network())
    shared_copy(model)(IMAGES)
    assert (float(model.calls), model.kept, hasattr(model, "last")) == (0, [], False)
    running_view(model)(IMAGES)
    assert float(model.calls) == 1
    assert len(model.kept) == 6


def test_a_copy_has_the_memory_of_the_weights_and_a_new_one_all_that_has_changed() -> None:
    model = network()
    copied = shared_copy(model)
    with torch.no_grad():
        model[5].weight.mul_(2)
        model[5].bias.mul_(2)
        torch.testing.assert_close(copied(IMAGES), model(IMAGES))
    model[3].dilation, model[1].eps, model[2] = (2, 2), 0.7, nn.Tanh()
    model[5] = nn.Linear(16, 5)
    with torch.no_grad():
        torch.testing.assert_close(shared_copy(model)(IMAGES), model(IMAGES))


def test_tied_and_repeated_modules_stay_so() -> None:
    conv = nn.Conv2d(3, 3, 3)
    model = nn.Sequential(conv, nn.ReLU(), conv)
    model.other = conv.weight
    copied = shared_copy(model)
    assert copied[0] is copied[2]
    assert copied.other is copied[0].weight
    assert copied[0].weight is not conv.weight
    assert copied[0].weight.data_ptr() == conv.weight.data_ptr()


def test_a_method_that_was_kept_is_the_views_own() -> None:
    model = network()
    model.again = model.forward
    view = shared_copy(model)
    assert isinstance(view.again, types.MethodType)
    assert view.again.__self__ is view


def test_what_is_hooked_or_replaced_is_not_as_written() -> None:
    assert is_as_written(network())
    assert not is_as_written(hooked(network()))
    assert not is_as_written(replaced(network()))
    assert not is_as_written(weight_normed(network()))
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    try:
        assert not is_as_written(network())
    finally:
        handle.remove()


def test_tracing_leaves_every_class_alone() -> None:
    model = network()
    call, read = nn.Module.__call__, nn.Module.__getattr__
    seen: list[bool] = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(nn.Module.__call__ is call and nn.Module.__getattr__ is read)
            with torch.no_grad():
                network()(IMAGES)  # another network predicts while this one is traced
            return x

    model.insert(2, Looks())
    kinds = [type(module) for module in model.modules()]
    graph = traced(model)
    assert seen == [True]
    assert [type(module) for module in model.modules()] == kinds
    assert all(type(module) in (*kinds, nn.Module, type(graph)) for module in graph.modules())
    torch.testing.assert_close(graph(IMAGES), model(IMAGES))


class Additive(nn.Module):
    """Parameters, buffers and constants that are read in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.register_buffer("shift", torch.randn(4, 1, 1))
        self.plain = torch.tensor(2.0)
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.conv2d(x, self.weight * self.plain) + self.shift + torch.ones(1)
        return self.inner[1:](hidden.relu())


def test_a_trace_reads_parameters_as_they_are() -> None:
    model = Additive().eval()
    graph = traced(model)
    with torch.no_grad():
        torch.testing.assert_close(graph(IMAGES), model(IMAGES))
        model.weight.mul_(2)
        torch.testing.assert_close(graph(IMAGES), model(IMAGES))
    copied = copy.deepcopy(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(copied(IMAGES), graph(IMAGES))
