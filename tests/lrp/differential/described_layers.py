"""Layers with weights, plain and computed anew at each call, as descriptions."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from dense_relevance import Back, Choices, Value, matrix, weighted
from described_block import CHANNELS, Block, State
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

COMPUTED: dict[str, Callable[[nn.Module], object]] = {
    "plain": lambda module: None,
    "weight_norm": nn.utils.weight_norm,
    "new weight_norm": parametrizations.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "new spectral_norm": parametrizations.spectral_norm,
    "pruned": lambda module: prune.l1_unstructured(module, "weight", amount=0.4),
}
"""Ways in which a module computes its weight anew for every call."""


def weight_of(state: State, path: str, computed: str) -> Tensor:
    """The weight of the module at ``path`` as a forward pass will see it, float64."""
    get = {name[len(path) + 1 :]: each.double() for name, each in state.items() if name.startswith(f"{path}.")}
    if computed == "plain":
        return get["weight"]
    if computed == "pruned":
        return get["weight_orig"] * get["weight_mask"]
    if computed in ("weight_norm", "new weight_norm"):
        new = computed.startswith("new")
        size = get["parametrizations.weight.original0" if new else "weight_g"]
        direction = get["parametrizations.weight.original1" if new else "weight_v"]
        return size * direction / direction.flatten(1).norm(dim=1).reshape(size.shape)
    new = computed.startswith("new")
    weight = get["parametrizations.weight.original" if new else "weight_orig"]
    u, v = (get[f"parametrizations.weight.0._{key}" if new else f"weight_{key}"] for key in "uv")
    return weight / torch.dot(u, weight.flatten(1) @ v)


def bias_of(state: State, path: str) -> Tensor | None:
    found = state.get(f"{path}.bias")
    return None if found is None else found.double()


@dataclass
class Conv(Block):
    """A convolution that keeps the map's size (or leads from ``inputs`` channels to ``outputs``)."""

    kernel: int = 3
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    computed: str = "plain"
    inputs: int = CHANNELS
    outputs: int = CHANNELS
    stride: int = 1
    padding_mode: str = "zeros"

    def build(self) -> nn.Module:
        module = nn.Conv2d(
            self.inputs, self.outputs, self.kernel, self.stride, self.padding, self.dilation, self.groups, self.bias,
            padding_mode=self.padding_mode,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            COMPUTED[self.computed](module)
        return module

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel // 2)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        weight = weight_of(state, self.path, self.computed)
        bias = bias_of(state, self.path)

        padding, padded, unpadded = self.padding, value, lambda relevance: relevance
        if self.padding_mode != "zeros":  # an entry that is seen twice contributes twice
            padding, reflected = 0, lambda x: F.pad(x, [self.padding] * 4, mode=self.padding_mode)
            padded, moved = value.map(reflected), matrix(reflected, value.h.shape)[0]
            unpadded = lambda relevance: (moved.T @ relevance.flatten()).reshape(value.h.shape)  # noqa: E731

        def convolved(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
            return F.conv2d(x, w, b, self.stride, padding, self.dilation, self.groups)

        result, back = weighted(
            choices, padded, lambda x: convolved(x, weight, bias), lambda x: convolved(x, torch.ones_like(weight), None)
        )
        return result, lambda relevance: unpadded(back(relevance))


@dataclass
class ChannelsLast(Block):
    """``nn.Linear`` over the channels, by a permutation there and back."""

    computed: str = "plain"

    def build(self) -> nn.Module:
        return _ChannelsLast(self.computed)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        path = f"{self.path}.linear"
        weight, bias = weight_of(state, path, self.computed), bias_of(state, path)
        return weighted(
            choices,
            value,
            lambda x: F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2),
            lambda x: F.linear(x.permute(0, 2, 3, 1), torch.ones_like(weight)).permute(0, 3, 1, 2),
        )


class _ChannelsLast(nn.Module):
    def __init__(self, computed: str) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, CHANNELS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            COMPUTED[computed](self.linear)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@dataclass
class LopsidedPad(Block):
    """A row and a column of a constant in front, and a 2x2 convolution without padding."""

    constant: float = 0.0

    def build(self) -> nn.Module:
        return _LopsidedPad(self.constant)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        weight, bias = weight_of(state, f"{self.path}.conv", "plain"), bias_of(state, f"{self.path}.conv")
        padded = Value(
            F.pad(value.h, (1, 0, 1, 0), value=self.constant),
            F.pad(value.depends, (1, 0, 1, 0), value=False),
            value.layers,
        )
        result, back = weighted(
            choices, padded, lambda x: F.conv2d(x, weight, bias), lambda x: F.conv2d(x, torch.ones_like(weight))
        )
        return result, lambda relevance: back(relevance)[:, 1:, 1:]


class _LopsidedPad(nn.Module):
    def __init__(self, constant: float) -> None:
        super().__init__()
        self.conv, self.constant = nn.Conv2d(CHANNELS, CHANNELS, 2), constant

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 0, 1, 0), value=self.constant))
