"""Recurrent layers, step by step: gates scale, the candidate and the state before share.

As Arras et al. (2019) have it for LSTMs, a gate receives nothing. The state is a sum, of what is kept of the state
before and of what the candidate adds, whose relevance the option ``split`` divides as at any addition. The candidate is
a layer with weights on the input and the state together, and has the rule of its module, also where it is the network's
first: ``input_rule`` is for layers that see the input alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.arithmetic import union
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.addition import share_of_first
from relsplit.lrp.operations.pass_through import record_unchanged
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Step

State = tuple[Tensor, ...]
"""(h,) or (h, c), (N, H) each."""


@dataclass(frozen=True)
class _Weights:
    """Of one layer in one direction; rows are those of the gates, one after another."""

    of_input: Tensor
    of_state: Tensor
    input_bias: Tensor | None
    state_bias: Tensor | None
    projection: Tensor | None

    def rows(self, place: int, gates: int) -> "_Weights":
        """Return the weights of one of several gates."""

        def part(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.chunk(gates)[place]

        of_input, of_state = self.of_input.chunk(gates)[place], self.of_state.chunk(gates)[place]
        return _Weights(of_input, of_state, part(self.input_bias), part(self.state_bias), self.projection)

    def sums(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the input and what the state contribute."""
        return F.linear(x, self.of_input, self.input_bias), F.linear(h, self.of_state, self.state_bias)


Cell = Callable[[Call, _Weights, Tensor, State], State]


def _lstm(call: Call, weights: _Weights, x: Tensor, state: State) -> State:
    (h, c), (of_x, of_h) = state, weights.sums(x, state[0])
    entry, forget, candidate, exit_ = (of_x + of_h).chunk(4, 1)
    added = _candidate(call, weights.rows(2, 4), x, h)
    c = _kept_and_added(call, forget.sigmoid() * c, c, entry.sigmoid() * candidate.tanh(), added)
    result = exit_.sigmoid() * c.tanh()
    _unchanged(call, result, c)
    if weights.projection is None:
        return result, c
    with call.recorder:
        return F.linear(result, weights.projection), c


def _gru(call: Call, weights: _Weights, x: Tensor, state: State) -> State:
    (h,), (of_x, of_h) = state, weights.sums(x, state[0])
    reset, keep = (of_x + of_h)[:, : -h.shape[1]].sigmoid().chunk(2, 1)
    candidate = (of_x.chunk(3, 1)[2] + reset * of_h.chunk(3, 1)[2]).tanh()
    parts = weights.rows(2, 3)
    # The reset gate scales what the state contributes to the candidate: weights of each sample's own.
    scaled = parts.of_state.t() * reset[:, None]
    matrix = torch.cat([parts.of_input.t().expand(len(x), -1, -1), scaled], 1)
    with call.recorder:
        added = torch.bmm(torch.cat([x, h], 1).unsqueeze(1), matrix).squeeze(1)
    return (_kept_and_added(call, keep * h, h, (1 - keep) * candidate, added),)


def _plain(activation: Callable[[Tensor], Tensor]) -> Cell:
    def step(call: Call, weights: _Weights, x: Tensor, state: State) -> State:
        made = _candidate(call, weights, x, state[0])
        result = activation(made)
        _unchanged(call, result, made)
        return (result,)

    return step


_CELLS: dict[str, Cell] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _plain(torch.tanh),
    "rnn_relu": _plain(torch.relu),
}


@OPERATIONS.register(*(f"{name}_cell" for name in _CELLS))
def cell(call: Call) -> Any:
    """One step of one layer."""
    given, name = call.given(), call.name.removesuffix("_cell")
    weights = _Weights(given["w_ih"], given["w_hh"], given["b_ih"], given["b_hh"], None)
    if _depend(call, [weights.of_input, weights.of_state]):
        return call.refuse("its weights depend on the input")
    hx = given["hx"]
    state = _CELLS[name](call, weights, _no_first_layer(call, given["input"]), tuple(hx) if name == "lstm" else (hx,))
    return state if name == "lstm" else state[0]


@OPERATIONS.register(*_CELLS)
def recurrent(call: Call) -> Any:
    """All steps of all layers, in one direction or two, of a batch or of packed sequences."""
    given, name = call.given(), call.name
    if _depend(call, given["params"]):
        return call.refuse("its weights depend on the input")
    packed = given.get("batch_sizes")
    time = 1 if given.get("batch_first") else 0
    x = _no_first_layer(call, given["input"] if packed is None else given["data"])
    layers_before = call.recorder.facts.layers
    with call.recorder:
        steps: list[Tensor] = list(x.unbind(time) if packed is None else x.split(packed.tolist()))
        begun = tuple(given["hx"]) if name == "lstm" else (given["hx"],)
        states = [tuple(each.unbind(0)) for each in begun]  # of every layer and direction
    directions = 2 if given["bidirectional"] else 1
    every = _weights(given["params"], given["has_biases"], given["num_layers"] * directions)
    ends: list[State] = []
    for layer in range(given["num_layers"]):
        made = []
        for direction in range(directions):
            place = layer * directions + direction
            start = tuple(state[place] for state in states)
            outputs, end = _direction(call, _CELLS[name], every[place], steps, start, backwards=direction == 1)
            made.append(outputs)
            ends.append(end)
        with call.recorder:
            steps = made[0] if directions == 1 else [torch.cat(both, 1) for both in zip(*made, strict=True)]
    call.recorder.facts.layers = layers_before + given["num_layers"]
    with call.recorder:
        output = torch.stack(steps, time) if packed is None else torch.cat(steps)
        finals = tuple(torch.stack(each) for each in zip(*ends, strict=True))
    return output, *finals


def _direction(
    call: Call, step: Cell, weights: _Weights, steps: Sequence[Tensor], start: State, backwards: bool
) -> tuple[list[Tensor], State]:
    """Return the outputs of all steps, in the order of time, and the last state of every sample.

    Samples are ordered by length, the longest first: the shorter ones end earlier, or backwards, begin later.
    """
    outputs: list[Tensor] = []
    ended: list[State] = []
    state = start if not backwards else tuple(each[: len(steps[-1])] for each in start)
    for x in reversed(steps) if backwards else steps:
        running = len(state[0])
        with call.recorder:
            if len(x) < running:
                ended.insert(0, tuple(each[len(x) :] for each in state))
                state = tuple(each[: len(x)] for each in state)
            elif len(x) > running:
                state = tuple(torch.cat([each, new[running : len(x)]]) for each, new in zip(state, start, strict=True))
        state = step(call, weights, x, state)
        outputs.append(state[0])
    with call.recorder:
        parts = [state, *ended]
        end = state if not ended else tuple(torch.cat(each) for each in zip(*parts, strict=True))
    return outputs[::-1] if backwards else outputs, end


def _candidate(call: Call, weights: _Weights, x: Tensor, h: Tensor) -> Tensor:
    """Return what input and state say together, before its activation: one layer."""
    bias = None
    if weights.input_bias is not None and weights.state_bias is not None:
        bias = weights.input_bias + weights.state_bias
    matrix = torch.cat([weights.of_input, weights.of_state], 1)
    with call.recorder:
        return F.linear(torch.cat([x, h], 1), matrix, bias)


def _kept_and_added(call: Call, kept: Tensor, before: Tensor, added: Tensor, candidate: Tensor) -> Tensor:
    """Return ``kept + added``, noted as a sum of what the state before and the candidate made."""
    result = kept + added
    found = [(value, call.recorder.holders.of(made)) for value, made in ((kept, before), (added, candidate))]
    known = [(value, step) for value, step in found if step is not None]
    if len(known) == 1:
        record_unchanged(call, result, known[0][1], result.shape, is_layer=True)
    elif known:
        (first, of_first), (second, of_second) = known
        splitting = call.options.splitting
        share = share_of_first(splitting, (first, second), (of_first, of_second))

        def backward(relevance: Tensor) -> list[Tensor]:
            down = relevance * share
            return [down, relevance - down]

        support = union([of_first.support, of_second.support], result.shape)
        steps, conserves = [of_first, of_second], splitting.conserves
        call.record(result, steps, backward, is_layer=True, conserves=conserves, support=support)
    return result


def _unchanged(call: Call, result: Tensor, made_of: Tensor) -> None:
    step = call.recorder.holders.of(made_of)
    if step is not None:
        record_unchanged(call, result, step, result.shape, is_layer=True)


def _no_first_layer(call: Call, x: Tensor) -> Tensor:
    """Return the input as if a layer had been before: in ``input_rule`` the state would have no place."""
    step: Step | None = call.step(x)
    copy = x.clone()
    if step is not None:
        call.record(
            copy,
            [step],
            lambda relevance: [relevance],
            is_layer=True,
            support=step.support,
            nonnegative=step.nonnegative,
        )
    return copy


def _depend(call: Call, weights: Sequence[Tensor]) -> bool:
    return any(call.step(each) is not None for each in weights)


def _weights(params: Sequence[Tensor], has_biases: bool, count: int) -> list[_Weights]:
    """Return the weights of every layer and direction, in PyTorch's order."""
    size = len(params) // count
    parts = [list(params[place * size : (place + 1) * size]) for place in range(count)]
    biases = 2 if has_biases else 0
    return [
        _Weights(
            part[0],
            part[1],
            part[2] if has_biases else None,
            part[3] if has_biases else None,
            part[2 + biases] if size > 2 + biases else None,
        )
        for part in parts
    ]
