"""A new shape, batch size or length costs a call, and no compilation: nothing is traced, exported or compiled."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from plain_networks import images
from torch import Tensor, nn

from relsplit import LRP


class Compilations:
    """Counts what of PyTorch makes another form of a network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: Counter[str] = Counter()
        self._watch(monkeypatch, torch.export, "export")
        self._watch(monkeypatch, torch.fx.Tracer, "trace")
        self._watch(monkeypatch, torch.fx, "symbolic_trace")
        self._watch(monkeypatch, torch, "compile")
        self._watch(monkeypatch, torch.jit, "trace")
        self._watch(monkeypatch, torch.jit, "script")
        self._watch(monkeypatch, torch._dynamo, "export")

    def _watch(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        before: Callable[..., object] = getattr(owner, name)

        def counted(*args: object, **kwargs: object) -> object:
            self.count[name] += 1
            return before(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


class Encoder(nn.Module):
    """Attention over however many tokens; its forward looks at shapes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.MultiheadAttention(8, 2, batch_first=True)
            self.embed, self.norm, self.fc = nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.flatten(2).transpose(1, 2))
        if h.shape[1] > 30:
            h = h * 2
        h = self.norm(h + self.layer(h, h, h, need_weights=False)[0])
        return self.fc(h.mean(1))


class Windows(nn.Module):
    """A forward that torch.fx cannot follow: padding by the rest of a division."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        missing = [-x.shape[3] % 4, -x.shape[2] % 4]
        if any(missing):
            x = F.pad(x, (0, missing[0], 0, missing[1]))
        return self.fc(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("network", [Encoder, Windows])
def test_nothing_is_compiled_for_a_new_shape(network: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = Compilations(monkeypatch)
    model = network()
    lrp = LRP(model)
    for count, size in ((1, 5), (2, 5), (3, 6), (1, 7), (2, 8), (1, 5)):
        x = images(count, size)
        relevance, sums = lrp.attribute(x, 1, return_sums=True)
        assert relevance.shape == x.shape
        torch.testing.assert_close(sums["output"], model(x).softmax(1)[:, 1].detach())
        torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"], rtol=1e-6, atol=0)
    assert not compilations.count


class Doubled(nn.Module):
    """What a user gives a rule of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1) * 2


def test_a_rule_of_the_users_does_not_need_a_network_that_can_be_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.own = Encoder(), Doubled()

        def forward(self, x: Tensor) -> Tensor:
            return self.encoder(self.own(x) if x.shape[0] < 100 else x)

    compilations = Compilations(monkeypatch)
    network = Net().double().eval()
    lrp = LRP(network, leaves={Doubled: "pass"}, input_rule="activation")
    for count, size in ((1, 5), (3, 6), (2, 4)):
        x = images(count, size)
        relevance, sums = lrp.attribute(x, 1, return_sums=True)
        torch.testing.assert_close(sums["output"], network(x).softmax(1)[:, 1].detach())
        expected = LRP(network.encoder, input_rule="activation").attribute(network.own(x), 1)
        torch.testing.assert_close(relevance, expected)
    assert not compilations.count
