"""The weights and settings of this very call are explained: computed ones, and Python attributes set meanwhile."""

import copy
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from plain_networks import Times, assert_explains_what_answers, images, plain
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from relsplit import LRP


@pytest.fixture(autouse=True)
def _no_word_about_old_functions() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def with_weight(weight: Tensor) -> nn.Module:
    """A plain network of which the second convolution has this weight."""
    network = plain()
    with torch.no_grad():
        network[2].weight.copy_(weight)
    return network


def other_state(network: nn.Module) -> dict[str, Tensor]:
    """Another training's outcome, to be loaded into ``network``; one step of power iteration would not get there."""
    generator = torch.Generator().manual_seed(5)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    for key in [key for key in state if key.startswith("2.") and "mask" not in key]:
        noise = torch.rand(state[key].shape, generator=generator, dtype=torch.float64) - 0.3
        state[key] = F.normalize(noise, dim=0) if key.endswith(("_u", "_v")) else noise
    return state


def _old_weight_norm(state: dict[str, Tensor]) -> Tensor:
    direction = state["2.weight_v"]
    return state["2.weight_g"] * direction / direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


def _new_weight_norm(state: dict[str, Tensor]) -> Tensor:
    direction = state["2.parametrizations.weight.original1"]
    size = state["2.parametrizations.weight.original0"]
    return size * direction / direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


def _old_spectral_norm(state: dict[str, Tensor]) -> Tensor:
    weight = state["2.weight_orig"]
    return weight / torch.dot(state["2.weight_u"], weight.flatten(1) @ state["2.weight_v"])


def _new_spectral_norm(state: dict[str, Tensor]) -> Tensor:
    weight, prefix = state["2.parametrizations.weight.original"], "2.parametrizations.weight.0."
    return weight / torch.dot(state[f"{prefix}_u"], weight.flatten(1) @ state[f"{prefix}_v"])


def _pruned(state: dict[str, Tensor]) -> Tensor:
    return state["2.weight_orig"] * state["2.weight_mask"]


COMPUTED: dict[str, tuple[Callable[[nn.Module], object], Callable[[dict[str, Tensor]], Tensor]]] = {
    "weight_norm": (nn.utils.weight_norm, _old_weight_norm),
    "weight_norm as a parametrization": (parametrizations.weight_norm, _new_weight_norm),
    "spectral_norm": (nn.utils.spectral_norm, _old_spectral_norm),
    "spectral_norm as a parametrization": (parametrizations.spectral_norm, _new_spectral_norm),
    "prune": (lambda module: prune.l1_unstructured(module, "weight", amount=0.6), _pruned),
}


def computing(name: str) -> nn.Sequential:
    network = plain()
    COMPUTED[name][0](network[2])
    return network.eval()


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("used", [False, True], ids=["at once", "in use before"])
def test_a_loaded_checkpoint_is_explained(name: str, used: bool) -> None:
    network = computing(name)
    lrp = LRP(network)
    if used:
        lrp.attribute(images(), 1)
    state = other_state(network)
    network.load_state_dict(state)
    twin = with_weight(COMPUTED[name][1](state))
    # The explainer goes first: what a forward pass of ours would set right is not to be set right here.
    relevance = lrp.attribute(images(), 1)
    torch.testing.assert_close(relevance, LRP(twin).attribute(images(), 1))
    assert_explains_what_answers(LRP(network), network, twin)
    assert_explains_what_answers(lrp, network, twin)


@pytest.mark.parametrize("name", COMPUTED)
def test_a_step_of_training_is_explained(name: str) -> None:
    network = computing(name)
    lrp = LRP(network)
    lrp.attribute(images(), 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    F.cross_entropy(network(images()), torch.tensor([2, 0])).backward()
    optimizer.step()
    relevance = lrp.attribute(images(), 1)
    with torch.no_grad():
        twin = plain()
        twin[6].load_state_dict(network[6].state_dict())
        twin[0].load_state_dict(network[0].state_dict())
        twin[2].weight.copy_(COMPUTED[name][1](network.state_dict()))
    torch.testing.assert_close(relevance, LRP(twin).attribute(images(), 1))
    assert_explains_what_answers(lrp, network, twin)


def test_pruning_and_weight_norm_may_come_later() -> None:
    network = plain()
    lrp = LRP(network)
    lrp.attribute(images(), 1)
    prune.l1_unstructured(network[2], "weight", amount=0.6)
    assert_explains_what_answers(lrp, network, with_weight(_pruned(network.state_dict())))
    prune.remove(network[2], "weight")
    nn.utils.weight_norm(network[2])
    with torch.no_grad():
        network[2].weight_g.mul_(torch.linspace(0.5, 2, 12).reshape(-1, 1, 1, 1))
    assert_explains_what_answers(lrp, network, with_weight(_old_weight_norm(network.state_dict())))


class WithSettings(nn.Module):
    """A network of which many a setting is a Python attribute."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.conv = nn.Conv2d(3, 8, 3, padding=2)
            self.bn = nn.BatchNorm2d(8)
            self.relu: nn.Module = nn.ReLU()
            self.maxpool = nn.MaxPool2d(2)
            self.norm = nn.GroupNorm(2, 8)
            self.block: nn.Module = nn.Conv2d(8, 8, 1)
            self.fc = nn.Linear(8, 4)
            nn.init.uniform_(self.bn.running_var, 0.01, 0.1)
        self.temperature = 0.3
        self.steps = 1
        self.residual = True
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.maxpool(self.relu(self.bn(self.conv(x))))
        for _ in range(self.steps):
            h = h + self.block(h) if self.residual else self.block(h)
        return self.fc(self.norm(h).mean((2, 3))) / self.temperature


def _set(path: str, value: object) -> Callable[[nn.Module], None]:
    module, _, attribute = path.rpartition(".")
    return lambda network: setattr(network.get_submodule(module), attribute, value)


SETTINGS: dict[str, Callable[[nn.Module], None]] = {
    "temperature": _set("temperature", 0.1),
    "number of steps": _set("steps", 3),
    "switch": _set("residual", False),
    "dilation": _set("conv.dilation", (2, 2)),
    "stride": _set("conv.stride", (2, 2)),
    "padding": _set("conv.padding", (0, 0)),
    "eps of batch normalisation": _set("bn.eps", 0.5),
    "eps of group normalisation": _set("norm.eps", 0.5),
    "number of groups": _set("norm.num_groups", 4),
    "stride of pooling": _set("maxpool.stride", 1),
    "kernel of pooling": _set("maxpool.kernel_size", 3),
    "exchanged activation": _set("relu", nn.LeakyReLU(0.3)),
    "exchanged layer": _set("block", Times(0.5)),
    "exchanged parameter": lambda network: setattr(
        network.block, "weight", nn.Parameter(torch.linspace(-1, 1, 64).reshape(8, 8, 1, 1).double())
    ),
    "exchanged buffer": lambda network: setattr(network.bn, "running_mean", torch.linspace(-1, 1, 8).double()),
    "replaced forward": lambda network: setattr(network.relu, "forward", lambda x: x.clamp(min=0, max=0.2)),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changed_meanwhile_is_explained(name: str) -> None:
    network = WithSettings()
    lrp = LRP(network)
    before = lrp.attribute(images(), 1)
    torch.testing.assert_close(before, LRP(WithSettings()).attribute(images(), 1))
    SETTINGS[name](network)
    twin = WithSettings()
    SETTINGS[name](twin)
    assert_explains_what_answers(lrp, network, twin)
    assert not torch.allclose(lrp.attribute(images(), 1), before)


def test_a_cast_network_is_explained_in_its_precision() -> None:
    network = WithSettings()
    lrp = LRP(network)
    before = lrp.attribute(images(), 1)
    network.float()
    single = lrp.attribute(images().float(), 1)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), LRP(copy.deepcopy(network).double()).attribute(images(), 1), **LOOSE)
    network.double()
    torch.testing.assert_close(lrp.attribute(images(), 1), before, **LOOSE)


LOOSE = {"rtol": 1e-3, "atol": 1e-5}
