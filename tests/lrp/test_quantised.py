"""Quantised networks are explained as the networks whose numbers they hold, up to what rounding changes."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import (
    DeQuantStub,
    QuantStub,
    convert,
    default_qat_qconfig,
    default_qconfig,
    float_qparams_weight_only_qconfig,
    prepare,
    prepare_qat,
    quantize_dynamic,
)

from relsplit import LRP

pytestmark = [
    pytest.mark.usefixtures("seed"),
    pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="this torch has no quantised kernels"),
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """PyTorch says that it will move these modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def alike(found: Tensor, expected: Tensor) -> float:
    """The correlation of two maps."""
    return float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1])


def explained(model: nn.Module, x: Tensor) -> Tensor:
    found, sums = LRP(model).attribute(x, 1, return_sums=True)
    torch.testing.assert_close(sums["output"], model(x).softmax(1)[:, 1].detach())
    torch.testing.assert_close(found.flatten(1).sum(1).float(), sums["output"], rtol=1e-5, atol=0)
    return found


class Mixed(nn.Module):
    """A residual network with most of what quantised modules there are."""

    def __init__(self, activation: nn.Module, dims: int = 2) -> None:
        super().__init__()
        self.begin, self.end = QuantStub(), DeQuantStub()
        conv, transposed = getattr(nn, f"Conv{dims}d"), getattr(nn, f"ConvTranspose{dims}d")
        self.one, self.relu, self.activation = conv(3, 6, 3, padding=1), nn.ReLU(inplace=True), activation
        self.two, self.wider = conv(6, 6, 3, padding=1, groups=2), transposed(6, 6, 2, 2)
        self.sum, self.gate, self.join = FloatFunctional(), FloatFunctional(), FloatFunctional()
        self.pool = getattr(nn, f"AdaptiveAvgPool{dims}d")(2)
        self.head = nn.Linear(12 * 2**dims, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.one(self.begin(x)))
        x = self.sum.add_relu(x, self.activation(self.two(x)))
        x = self.join.cat([x, self.gate.mul(x, x.sigmoid())], 1)
        return self.end(self.head(self.pool(x).flatten(1)))


ACTIVATIONS = [nn.Identity(), nn.Hardswish(), nn.LeakyReLU(0.1), nn.ELU(), nn.ReLU6(), nn.Hardsigmoid(), nn.Tanh()]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda module: type(module).__name__)
def test_a_network_of_quantised_activations(activation: nn.Module) -> None:
    model, x = Mixed(activation).eval(), torch.rand(2, 3, 8, 8)
    model.qconfig = default_qconfig
    prepared = prepare(model)
    prepared(torch.cat([x, torch.rand(6, 3, 8, 8)]))
    assert alike(explained(convert(prepared), x), explained(model, x)) > 0.99


def test_skip_connections_are_found() -> None:
    model, x = Mixed(nn.Identity()).eval(), torch.rand(2, 3, 8, 8)
    model.qconfig = default_qconfig
    prepared = prepare(model)
    prepared(x)
    quantised = convert(prepared)
    by_ratio, symmetric = (LRP(quantised, split=split).attribute(x, 1) for split in ("ratio", "symmetric"))
    assert not torch.allclose(by_ratio, symmetric, rtol=1e-2)
    assert len(LRP(quantised).attribute(x, 1, return_sums=True)[1]) == 3


class Volumes(nn.Module):
    """One, two or three dimensions, there and back."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.begin, self.end = QuantStub(), DeQuantStub()
        self.one = getattr(nn, f"Conv{dims}d")(3, 4, 3, stride=2, padding=1)
        self.two = getattr(nn, f"ConvTranspose{dims}d")(4, 4, 2, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.end(self.two(self.one(self.begin(x)).relu()))
        return self.head(h.flatten(2).mean(2))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_any_dimension(dims: int) -> None:
    model, x = Volumes(dims).eval(), torch.rand(2, 3, *[6] * dims)
    for part in (model.begin, model.one, model.two, model.end):
        part.qconfig = default_qconfig
    prepared = prepare(model)
    prepared(x)
    assert alike(explained(convert(prepared), x), explained(model, x)) > 0.99


def test_a_network_that_is_trained_to_be_quantised() -> None:
    model, x = Mixed(nn.Hardswish()).train(), torch.rand(2, 3, 8, 8)
    model.qconfig = default_qat_qconfig
    prepared = prepare_qat(model)
    prepared(torch.cat([x, torch.rand(6, 3, 8, 8)]))
    prepared.eval().apply(torch.ao.quantization.disable_observer)
    quantised = convert(prepared)
    assert alike(explained(quantised, x), explained(prepared, x)) > 0.99


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Reader(nn.Module):
    """A recurrent layer, or a cell in a loop, and a head on its last state."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.is_cell = kind.endswith("Cell")
        self.recurrent = getattr(nn, kind)(6, 8, **options)
        self.head = nn.Linear(8 * (1 + options.get("bidirectional", False)), 3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_cell:
            return self.head(self.recurrent(x.transpose(0, 1))[0][-1])
        state = None
        for step in x.unbind(1):
            state = self.recurrent(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


DYNAMIC: dict[str, Callable[[], nn.Module]] = {
    "fully connected": Layers,
    "LSTM": lambda: Reader("LSTM"),
    "LSTM, both ways": lambda: Reader("LSTM", bidirectional=True, num_layers=2),
    "GRU": lambda: Reader("GRU"),
    "LSTM cell": lambda: Reader("LSTMCell"),
    "GRU cell": lambda: Reader("GRUCell"),
    "plain cell": lambda: Reader("RNNCell"),
}
PARTS = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}


@pytest.mark.parametrize("name", DYNAMIC)
def test_layers_with_packed_weights(name: str) -> None:
    model = DYNAMIC[name]().eval()
    x = torch.rand(2, 6) if name == "fully connected" else torch.randn(2, 4, 6)
    of_bytes = quantize_dynamic(model, PARTS, dtype=torch.qint8)
    assert alike(explained(of_bytes, x), explained(model, x)) > 0.98
    if "cell" not in name:
        halves = quantize_dynamic(model, PARTS, dtype=torch.float16)
        torch.testing.assert_close(explained(halves, x), explained(model, x), rtol=0.02, atol=1e-4)


def test_a_packed_table_of_vectors() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(20, 16), nn.Linear(16, 3)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.words(ids).mean(1).relu())

    model, ids = Words().eval(), torch.randint(20, (2, 5))
    model.words.qconfig = float_qparams_weight_only_qconfig  # type: ignore[assignment]
    assert alike(explained(convert(prepare(model)), ids), explained(model, ids)) > 0.99
