"""Networks that keep what they computed, count their calls, or hold compiled parts are explained like others."""

import copy
import io
import pickle
import re
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from plain_networks import alike, assert_explains_what_answers, images, plain
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError


@pytest.fixture(autouse=True)
def _no_word_about_old_functions() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        yield


class Keeps(nn.Module):
    """Keeps an activation on itself, as many do for a visualisation."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain()
        self.features: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.network[:4](x)
        return self.network[4:](self.features)


class Counts(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.network(x)


class KeepsAList(nn.Module):
    """Appends to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.network[:2](x)
        self.seen.append(h)
        return self.network[2:](self.seen[-1])


class RunsAverage(nn.Module):
    """Reads and writes a buffer on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain()
        self.register_buffer("mean", torch.full((), 0.3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        result = self.network(x - self.mean)
        self.mean.mul_(0.5).add_(0.5 * x.detach().mean())
        return result


@pytest.mark.parametrize("make", [Keeps, Counts, KeepsAList])
@pytest.mark.parametrize("used", [False, True], ids=["new", "after a forward with gradients"])
def test_a_network_that_writes_on_itself(make: type[nn.Module], used: bool) -> None:
    network = make().eval()
    if used:
        network(images())
    lrp = LRP(network)
    for _ in range(2):
        assert_explains_what_answers(lrp, network, plain())


@pytest.mark.parametrize("make", [Keeps, Counts, KeepsAList, RunsAverage])
def test_explaining_leaves_no_trace_on_it(make: type[nn.Module]) -> None:
    network = make().eval()
    network(images(seed=8))
    attributes = {name: value for name, value in vars(network).items() if name not in ("_buffers", "_modules")}
    attributes = {name: list(value) if isinstance(value, list) else value for name, value in attributes.items()}
    state = {name: value.clone() for name, value in network.state_dict().items()}
    first = LRP(network).attribute(images(), 1)
    assert torch.equal(LRP(network).attribute(images(), 1), first)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert {name: value for name, value in vars(network).items() if name in attributes} == attributes


def scripted_whole() -> nn.Module:
    return torch.jit.script(plain())


def scripted_part() -> nn.Module:
    layers = list(plain())
    return nn.Sequential(layers[0], torch.jit.script(nn.Sequential(*layers[1:4])), *layers[4:]).eval()


def traced_part() -> nn.Module:
    layers = list(plain())
    first = torch.jit.trace(layers[0], images())
    return nn.Sequential(first, *layers[1:]).eval()


@pytest.mark.parametrize("make", [scripted_whole, scripted_part, traced_part])
def test_a_compiled_part_is_explained_or_refused_in_one_line(make: Callable[[], nn.Module]) -> None:
    network = make()
    try:
        lrp = LRP(network)
        relevance = lrp.attribute(images(), 1)
    except InputError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is None:
        alike(relevance, LRP(plain()).attribute(images(), 1))
        assert_explains_what_answers(lrp, network, plain())
    else:
        assert "\n" not in refusal
        assert re.search("script|jit|trace", refusal, re.IGNORECASE)


def through_torch_save(lrp: LRP) -> LRP:
    buffer = io.BytesIO()
    torch.save(lrp, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.attention, self.f = nn.MultiheadAttention(9, 3, batch_first=True), nn.Linear(9, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1, 2)
        return self.f((h + self.attention(h, h, h, need_weights=False)[0]).mean(1))


COPIES: dict[str, Callable[[LRP], LRP]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda lrp: pickle.loads(pickle.dumps(lrp)),
    "torch.save": through_torch_save,
}


@pytest.mark.parametrize("used", [False, True], ids=["new", "in use"])
@pytest.mark.parametrize("make", [plain, Attends])
@pytest.mark.parametrize("name", COPIES)
def test_an_explainer_can_be_copied_and_sent(name: str, make: Callable[[], nn.Module], used: bool) -> None:
    network = make()
    lrp = LRP(network, "symmetric", input_rule="activation")
    expected = lrp.attribute(images(), 1) if used else LRP(make(), "symmetric", input_rule="activation").attribute(
        images(), 1
    )  # fmt: skip
    alike(COPIES[name](lrp).attribute(images(), 1), expected)


def test_a_copy_has_a_network_of_its_own() -> None:
    network = plain()
    lrp = LRP(network)
    before = lrp.attribute(images(), 1)
    other = copy.deepcopy(lrp)
    with torch.no_grad():
        network[2].weight.mul_(-1)
    alike(other.attribute(images(), 1), before)
    alike(lrp.attribute(images(), 1), LRP(copy.deepcopy(network)).attribute(images(), 1))


def test_a_network_can_be_copied_after_it_was_explained() -> None:
    network = plain()
    expected = LRP(network).attribute(images(), 1)
    alike(LRP(copy.deepcopy(network)).attribute(images(), 1), expected)
    alike(LRP(pickle.loads(pickle.dumps(network))).attribute(images(), 1), expected)
