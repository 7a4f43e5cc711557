"""LSTM, GRU and plain recurrent layers: by hand, as layers, as cells, both ways, and packed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from relsplit import LRP

KINDS = ["LSTM", "GRU", "RNN"]
INPUTS, HIDDEN, STEPS = 5, 7, 4


pytestmark = pytest.mark.usefixtures("seed")


class Reader(nn.Module):
    """A recurrent network that answers with a layer on its last state."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.recurrent = getattr(nn, kind)(INPUTS, HIDDEN, batch_first=True, **options)
        self.head = nn.Linear(options.get("proj_size", HIDDEN) * (1 + options.get("bidirectional", False)), 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


def series(count: int = 3) -> Tensor:
    return torch.randn(count, STEPS, INPUTS).double()


def z_plus(values: Tensor, weights: Tensor, relevance: Tensor) -> Tensor:
    """Positive contributions of one layer, entry by entry."""
    contributions = (weights * values).clamp(min=0)  # (out, in)
    return (contributions / contributions.sum(1, keepdim=True) * relevance[:, None]).sum(0)


def lstm_by_hand(layer: nn.LSTM, x: Tensor, relevance: Tensor) -> Tensor:
    """Relevance of ``x`` (T, inputs), from that of the last state."""
    weights, state_weights = layer.weight_ih_l0.detach(), layer.weight_hh_l0.detach()
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
    h = c = torch.zeros(HIDDEN).double()
    kept = []
    for step in x:
        entry, forget, candidate, exit_ = (weights @ step + state_weights @ h + bias).chunk(4)
        old, new = forget.sigmoid() * c, entry.sigmoid() * candidate.tanh()
        kept.append((step, h, old, new))
        c = old + new
        h = exit_.sigmoid() * c.tanh()
    matrix = torch.cat([weights, state_weights], 1).chunk(4)[2]
    result, of_state = [], relevance
    for step, h, old, new in reversed(kept):
        share = old.abs() / (old.abs() + new.abs())
        both = z_plus(torch.cat([step, h]), matrix, of_state * (1 - share))
        result.insert(0, both[:INPUTS])
        of_state = of_state * share + both[INPUTS:]
    return torch.stack(result)


def gru_by_hand(layer: nn.GRU, x: Tensor, relevance: Tensor) -> Tensor:
    weights, state_weights = layer.weight_ih_l0.detach(), layer.weight_hh_l0.detach()
    bias, state_bias = layer.bias_ih_l0.detach(), layer.bias_hh_l0.detach()
    h = torch.zeros(HIDDEN).double()
    kept = []
    for step in x:
        of_x, of_h = (weights @ step + bias).chunk(3), (state_weights @ h + state_bias).chunk(3)
        reset, keep = (of_x[0] + of_h[0]).sigmoid(), (of_x[1] + of_h[1]).sigmoid()
        old, new = keep * h, (1 - keep) * (of_x[2] + reset * of_h[2]).tanh()
        matrix = torch.cat([weights.chunk(3)[2], reset[:, None] * state_weights.chunk(3)[2]], 1)
        kept.append((step, h, old, new, matrix))
        h = old + new
    result, of_state = [], relevance
    for step, h, old, new, matrix in reversed(kept):
        share = old.abs() / (old.abs() + new.abs())
        both = z_plus(torch.cat([step, h]), matrix, of_state * (1 - share))
        result.insert(0, both[:INPUTS])
        of_state = of_state * share + both[INPUTS:]
    return torch.stack(result)


@pytest.mark.parametrize(("kind", "by_hand"), [("LSTM", lstm_by_hand), ("GRU", gru_by_hand)])
def test_by_hand(kind: str, by_hand: Any) -> None:
    model, x = Reader(kind).double(), series()
    found, sums = LRP(model).attribute(x, return_sums=True)
    state = model.recurrent(x)[0][:, -1].detach()
    p = model.head(state).softmax(1)
    torch.testing.assert_close(sums["output"], p.amax(1).detach())
    for sample in range(3):
        target = int(p[sample].argmax())
        of_state = z_plus(
            state[sample], model.head.weight.detach()[target : target + 1], p[sample].detach().amax()[None]
        )
        expected = by_hand(model.recurrent, x[sample], of_state)
        torch.testing.assert_close(found[sample], expected, rtol=1e-9, atol=1e-12)


OPTIONS: list[dict[str, Any]] = [{}, {"num_layers": 2}, {"bidirectional": True, "num_layers": 2}, {"bias": False}]


@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, options) for kind in KINDS for options in OPTIONS), ("LSTM", {"proj_size": 4})]
)
def test_nothing_is_lost(kind: str, options: dict[str, Any]) -> None:
    model, x = Reader(kind, **options).double(), series()
    for rule in ("z_plus", "gamma"):
        found, sums = LRP(model, rule=rule).attribute(x, return_sums=True)
        torch.testing.assert_close(sums["output"], model(x).softmax(1).amax(1).detach())
        torch.testing.assert_close(found.sum((1, 2)), sums["output"], rtol=1e-9, atol=0)


class ByCell(Reader):
    """The same network, a cell in a loop."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.cell = getattr(nn, f"{kind}Cell")(INPUTS, HIDDEN)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self.cell.load_state_dict({name: getattr(self.recurrent, f"{name}_l0") for name in names})

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_layers(kind: str) -> None:
    by_cell, x = ByCell(kind).double(), series()
    layer = Reader(kind).double()
    layer.recurrent, layer.head = by_cell.recurrent, by_cell.head
    torch.testing.assert_close(LRP(by_cell).attribute(x), LRP(layer).attribute(x), rtol=1e-9, atol=1e-12)


class BothWays(nn.Module):
    """A layer that reads both ways, as two that read one way each."""

    def __init__(self, model: Reader) -> None:
        super().__init__()
        kind = type(model.recurrent)
        self.forwards, self.backwards = (kind(INPUTS, HIDDEN, batch_first=True).double() for _ in range(2))
        weights = model.recurrent.state_dict()
        self.forwards.load_state_dict({name: weights[name] for name in self.forwards.state_dict()})
        self.backwards.load_state_dict({name: weights[f"{name}_reverse"] for name in self.backwards.state_dict()})
        self.head = model.head

    def forward(self, x: Tensor) -> Tensor:
        there, back = self.forwards(x)[0], self.backwards(x.flip(1))[0].flip(1)
        return self.head(torch.cat([there, back], 2)[:, -1])


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_are_two_layers(kind: str) -> None:
    model, x = Reader(kind, bidirectional=True).double(), series()
    torch.testing.assert_close(LRP(model).attribute(x), LRP(BothWays(model)).attribute(x), rtol=1e-9, atol=1e-12)


class Packed(Reader):
    """Answers from the last state of sequences of different lengths, and from the mean of what was said on the way."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, state = self.recurrent(packed)
        state = state[0] if isinstance(state, tuple) else state
        padded, _ = pad_packed_sequence(output, batch_first=True)
        last = torch.cat(list(state[-2:]), 1) if self.recurrent.bidirectional else state[-1]
        return self.head(last + padded.sum(1) / lengths[:, None])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_explained_as_each_of_them_alone(kind: str, bidirectional: bool) -> None:
    model, x, lengths = Packed(kind, bidirectional=bidirectional).double(), series(), torch.tensor([2, 4, 3])
    found = LRP(model).attribute(x, 1, forward_kwargs={"lengths": lengths})
    for sample, length in enumerate(lengths.tolist()):
        alone = LRP(model).attribute(
            x[sample : sample + 1, :length], 1, forward_kwargs={"lengths": lengths[sample : sample + 1]}
        )
        torch.testing.assert_close(found[sample : sample + 1, :length], alone, rtol=1e-9, atol=1e-12)
        assert not found[sample, length:].any()


def test_tokens_are_read_and_names_of_blocks_stay_few() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.reader = nn.Embedding(20, INPUTS), Reader("LSTM", bidirectional=True)

        def forward(self, ids: Tensor) -> Tensor:
            return self.reader(self.words(ids))

    model, ids = Words().double(), torch.randint(20, (2, STEPS))
    found, sums = LRP(model).attribute(ids, return_sums=True)
    torch.testing.assert_close(found.sum(1), sums["output"], rtol=1e-9, atol=0)
    assert list(sums) == ["input", "output"]
