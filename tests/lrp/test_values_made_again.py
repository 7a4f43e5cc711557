"""Values between two layers are made again on the way back, where what they are made of is kept anyway."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from relsplit import LRP
from relsplit.lrp.recording import remade

EPSILON: dict[str, Any] = {"rule": "epsilon", "input_rule": "epsilon", "split": "proportional", "start": "logit"}


class WrittenOut(nn.Module):
    """GELU by its formula, as language models have it, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        hidden = 0.5 * z * (1 + torch.tanh(0.8 * (z + 0.04 * torch.pow(z, 3))))
        return self.second(hidden)  # type: ignore[no-any-return]


class Copied(nn.Module):
    """Three parts of a copy, as queries, keys and values are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 24), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = self.first(x).unflatten(-1, (3, 8)).transpose(0, 1).contiguous().unbind(0)
        return self.second(one) + self.second(two.tanh()) * 0.5 + self.second(three)  # type: ignore[no-any-return]


class OverwrittenAfterwards(nn.Module):
    """What went into a layer, and what it was made of, are written over as soon as they have been used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        hidden = torch.nn.functional.gelu(z)
        scores = self.second(hidden)
        hidden.mul_(0).add_(7)
        z.zero_()
        return scores  # type: ignore[no-any-return]


class ChangedBefore(nn.Module):
    """A value is written over between the activation that made it and the layer that it goes into."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.nn.functional.gelu(self.first(x))
        hidden[:, :8] = hidden[:, 8:16] * 2
        return self.second(hidden)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A stream with as many blocks as it takes to make values of a layer's long ago."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(12))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)  # type: ignore[no-any-return]


NETWORKS = [WrittenOut, Copied, OverwrittenAfterwards, ChangedBefore, Residual]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("options", [EPSILON, {"input_rule": "activation"}, {"attention": "attn_lrp", **EPSILON}])
def test_the_map_is_the_same_bit_by_bit(
    make: Callable[[], nn.Module], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = seeded(make), drawn(3, 16)
    found = LRP(network, **options).attribute(x)
    monkeypatch.setattr(remade, "_CHEAP", frozenset())
    torch.testing.assert_close(found, LRP(network, **options).attribute(x), rtol=0, atol=0)


def kept_at_the_end(network: nn.Module, x: Tensor, **options: Any) -> list[str]:
    """Return the modules whose results are still there when relevance begins its way back."""
    alive: list[str] = []
    made: list[tuple[StorageWeakRef, str]] = []

    def note(module: nn.Module, given: Any, result: Tensor) -> None:
        made.append((StorageWeakRef(result.untyped_storage()), type(module).__name__))

    def start(output: Tensor) -> Tensor:
        alive.extend(name for storage, name in made if not storage.expired())
        return output

    for module in network.children():
        module.register_forward_hook(note)
    LRP(network, **options).attribute(x, start)
    return alive


def test_an_activation_between_two_layers_is_not_kept() -> None:
    network = seeded(lambda: nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4)))
    kept = kept_at_the_end(network, drawn(3, 16), **EPSILON)
    assert kept == ["Linear", "Linear"]


def test_it_is_kept_where_what_it_is_made_of_would_have_to_be_kept_for_it() -> None:
    network = seeded(lambda: nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4)))
    kept = kept_at_the_end(network, drawn(3, 16), rule="alpha2_beta1")
    assert kept == ["GELU", "Linear"]  # the latter is the output


@pytest.mark.parametrize("attention", ["ratio", "attn_lrp"])
def test_nothing_is_left_for_the_garbage_collector(attention: str) -> None:
    """What only it can free stays until it comes by, and memory grows by whole networks' activations meanwhile."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    network = seeded(lambda: nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)))
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    lrp, x = LRP(network, attention=attention, **EPSILON), drawn(2, 5, 16)
    lrp.attribute(x, lambda output: output)
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        lrp.attribute(x, lambda output: output)
        gc.collect()
        left = [each for each in gc.garbage if isinstance(each, Tensor) and each.numel() > 10]
        assert not [each for each in left if each.untyped_storage()._cdata not in weights]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
