"""Activations, normalisations, constants and pooling as descriptions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from dense_relevance import Back, Choices, Value, averaged, winner
from described_block import CHANNELS, Block, State
from torch import Tensor, nn


@dataclass
class Activation(Block):
    """An activation module, possibly in place."""

    kind: str = "relu"

    MODULES: ClassVar[dict[str, Callable[[], nn.Module]]] = {
        "relu": nn.ReLU,
        "relu_": lambda: nn.ReLU(inplace=True),
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "silu_": lambda: nn.SiLU(inplace=True),
        "tanh": nn.Tanh,
        "leaky": lambda: nn.LeakyReLU(0.2),
        "hardswish_": lambda: nn.Hardswish(inplace=True),
        "softplus": nn.Softplus,
        "dropout": lambda: nn.Dropout(0.5),
    }

    def build(self) -> nn.Module:
        return self.MODULES[self.kind]()

    def function(self, x: Tensor) -> Tensor:
        return {
            "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": torch.tanh, "hardswish": F.hardswish,
            "softplus": F.softplus, "dropout": lambda x: x, "leaky": lambda x: F.leaky_relu(x, 0.2),
        }[self.kind.rstrip("_")](x)  # fmt: skip

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        return value.pointwise(self.function), lambda relevance: relevance


@dataclass
class Norm(Block):
    """A normalisation, as trained: its statistics and its affine part are not the initial ones."""

    kind: str = "batch"
    eps: float = 1e-5
    num_groups: int = 2

    def build(self) -> nn.Module:
        if self.kind == "batch":
            module: nn.Module = nn.BatchNorm2d(CHANNELS, eps=self.eps)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif self.kind == "group":
            module = nn.GroupNorm(self.num_groups, CHANNELS, eps=self.eps)
        else:
            return _LayerNorm(self.eps)
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.3)
        return module

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        path = f"{self.path}.norm" if self.kind == "layer" else self.path
        get = {key: state[f"{path}.{key}"].double() for key in ("weight", "bias")}
        scale, shift = (get[key].reshape(-1, 1, 1) for key in ("weight", "bias"))
        h = value.h
        if self.kind == "batch":
            mean, var = (state[f"{path}.running_{key}"].double().reshape(-1, 1, 1) for key in ("mean", "var"))
        elif self.kind == "group":
            grouped = h.reshape(self.num_groups, -1)
            mean, var = (
                part.repeat_interleave(CHANNELS // self.num_groups).reshape(-1, 1, 1)
                for part in (grouped.mean(1), grouped.var(1, unbiased=False))
            )
        else:
            mean, var = h.mean(0, keepdim=True), h.var(0, unbiased=False, keepdim=True)
        return Value((h - mean) / (var + self.eps).sqrt() * scale + shift, value.depends, value.layers), lambda r: r


class _LayerNorm(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS, eps=eps)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@dataclass
class Constant(Block):
    """A constant factor or summand: a parameter, a number, or a Python attribute."""

    kind: str = "scale"
    factor: float = 1.5

    def build(self) -> nn.Module:
        return _Constant(self.kind, self.factor)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        weight = state[f"{self.path}.weight"].double()
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "scale": lambda x: x * weight,
            "scale_": lambda x: x * weight,
            "shift": lambda x: x + weight,
            "shift_": lambda x: x - weight,
            "factor": lambda x: x * self.factor,
            "temperature": lambda x: x / self.factor,
        }
        return value.pointwise(functions[self.kind]), lambda relevance: relevance


class _Constant(nn.Module):
    def __init__(self, kind: str, factor: float) -> None:
        super().__init__()
        self.kind, self.factor = kind, factor
        self.weight = nn.Parameter(torch.rand(CHANNELS, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "scale":
            return x * self.weight
        if self.kind == "scale_":
            return x.clone().mul_(self.weight)
        if self.kind == "shift":
            return self.weight + x
        if self.kind == "shift_":
            h = x.clone()
            h -= self.weight
            return h
        return x * self.factor if self.kind == "factor" else x / self.factor


@dataclass
class Pool(Block):
    """Pooling that keeps the map's size."""

    kind: str = "max"
    kernel: int = 3

    def build(self) -> nn.Module:
        make = nn.MaxPool2d if self.kind == "max" else nn.AvgPool2d
        return make(self.kernel, 1, self.kernel // 2)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        average = lambda x: F.avg_pool2d(x, self.kernel, 1, self.kernel // 2)  # noqa: E731
        if self.kind == "average":
            return averaged(choices, value, average)
        pool = lambda x: F.max_pool2d(x, self.kernel, 1, self.kernel // 2)  # noqa: E731
        if choices.max_pool == "winner":
            return winner(value, pool, average)
        result, back = averaged(choices, value, average)
        return Value(pool(value.h[None])[0], result.depends, result.layers), back
