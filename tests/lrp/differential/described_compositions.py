"""Blocks made of blocks: residual, gated, in parts, repeated, guarded by control flow."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from dense_relevance import Back, Choices, Value, added, weighted
from described_block import CHANNELS, SIDE, Block, State
from torch import Tensor, nn


@dataclass
class Sequence(Block):
    """One block after the other."""

    blocks: list[Block] = field(default_factory=list)

    def build(self) -> nn.Module:
        return nn.Sequential(*[block.built(f"{self.path}.{index}") for index, block in enumerate(self.blocks)])

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        backs = []
        for block in self.blocks:
            value, back = block.explained(value, state, choices)
            backs.append(back)

        def whole(relevance: Tensor) -> Tensor:
            for back in reversed(backs):
                relevance = back(relevance)
            return relevance

        return value, whole

    def inner(self) -> Iterator[Block]:
        yield self
        for block in self.blocks:
            yield from block.inner()


@dataclass
class Wrapper(Block):
    """A block around another one, which its module holds as ``inside``."""

    block: Block = field(default_factory=Sequence)

    def inner(self) -> Iterator[Block]:
        yield self
        yield from self.block.inner()


@dataclass
class Residual(Wrapper):
    """A skip connection around a block, added in one of many ways; the skip connection may have a layer of its own."""

    style: str = "plus"
    projection: Block | None = None

    STYLES: ClassVar[tuple[str, ...]] = ("plus", "in place", "torch.add", "into the skip", "by parts", "minus", "sum")

    def build(self) -> nn.Module:
        return _Residual(
            self.style,
            self.block.built(f"{self.path}.inside"),
            None if self.projection is None else self.projection.built(f"{self.path}.projection"),
        )

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        branch, back = self.block.explained(value, state, choices)
        if self.style == "minus":
            branch = branch.pointwise(torch.neg)
        skip, skip_back = value, lambda relevance: relevance
        if self.projection is not None:
            skip, skip_back = self.projection.explained(value, state, choices)
        layers = [each.layers - value.layers for each in (skip, branch)]
        if layers[0] > layers[1]:  # the summand with fewer layers is the skip connection
            raise AssertionError("the branch is to have as many layers as the projection")
        if self.style == "by parts":
            halves = [
                added(choices, *(Value(each.h[part], each.depends[part], each.layers) for each in (skip, branch)),
                      identity=layers[0] == 0 < layers[1])
                for part in (slice(None, CHANNELS // 2), slice(CHANNELS // 2, None))
            ]  # fmt: skip
            result = Value(
                torch.cat([half.h for half, _ in halves]),
                torch.cat([half.depends for half, _ in halves]),
                max(skip.layers, branch.layers),
            )

            def share(relevance: Tensor) -> Tensor:
                parts = relevance.split(CHANNELS // 2)
                return torch.cat([of(part) for (_, of), part in zip(halves, parts, strict=True)])

        else:
            result, share = added(choices, skip, branch, identity=layers[0] == 0 < layers[1])

        def whole(relevance: Tensor) -> Tensor:
            down = share(relevance)
            return skip_back(down) + back(relevance - down)

        return result, whole

    def inner(self) -> Iterator[Block]:
        yield from super().inner()
        if self.projection is not None:
            yield from self.projection.inner()


class _Residual(nn.Module):
    def __init__(self, style: str, inside: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.style, self.inside, self.projection = style, inside, projection

    def forward(self, x: Tensor) -> Tensor:
        branch = self.inside(x.clone())  # whatever is in place within must not reach the skip connection
        skip = x if self.projection is None else self.projection(x.clone())
        if self.style == "plus":
            return skip + branch
        if self.style == "in place":
            branch += skip
            return branch
        if self.style == "torch.add":
            return torch.add(branch, skip)
        if self.style == "into the skip":
            h = skip.clone()
            h += branch
            return h
        if self.style == "minus":
            return skip - branch
        if self.style == "sum":
            return skip.add(branch)
        h = skip.clone()
        half = h.shape[1] // 2
        h[:, :half] += branch[:, :half]
        rest = h[:, half:]
        rest.add_(branch[:, half:])
        return h


@dataclass
class Gated(Wrapper):
    """A signal times a gate: squeeze-and-excitation, a gated linear unit, a product of two signals."""

    kind: str = "squeeze"

    def build(self) -> nn.Module:
        return _Gated(self.kind, self.block.built(f"{self.path}.inside"))

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        signal, back = self.block.explained(value, state, choices)
        weight, bias = (state[f"{self.path}.gate.{key}"].double() for key in ("weight", "bias"))
        scores = F.conv2d(value.h[None], weight, bias)[0]
        layers = max(signal.layers, value.layers + 1)
        if self.kind == "squeeze":
            gate = F.conv2d(signal.h.mean((1, 2), keepdim=True)[None], weight, bias)[0].sigmoid()
            layers = signal.layers + 1
        elif self.kind == "own":
            gate, layers = signal.h.sigmoid(), signal.layers
        elif self.kind == "tanh":
            gate = scores.tanh()
        elif self.kind == "sigmoid":
            gate = scores.sigmoid()
        else:
            # Neither of two signals is a gate: a half each.
            other, other_back = weighted(
                choices,
                value,
                lambda x: F.conv2d(x, weight, bias),
                lambda x: F.conv2d(x, torch.ones_like(weight)),
            )
            other = other.pointwise(F.softplus if self.kind == "softplus" else lambda x: x)
            product = Value(signal.h * other.h, signal.depends | other.depends, layers)
            return product, lambda relevance: back(relevance / 2) + other_back(relevance / 2)
        return Value(signal.h * gate, signal.depends, layers), back


class _Gated(nn.Module):
    def __init__(self, kind: str, inside: nn.Module) -> None:
        super().__init__()
        self.kind, self.inside, self.gate = kind, inside, nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        signal = self.inside(x.clone())
        if self.kind == "squeeze":
            return signal * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(signal, 1)))
        if self.kind == "own":
            return signal * torch.sigmoid(signal)
        if self.kind == "tanh":
            return torch.tanh(self.gate(x)) * signal
        if self.kind == "sigmoid":
            h = signal.clone()
            h *= self.gate(x).sigmoid()
            return h
        return signal * (F.softplus(self.gate(x)) if self.kind == "softplus" else self.gate(x))


@dataclass
class Parts(Wrapper):
    """Half of the channels goes through a block of its own (over all channels, of which it takes its half)."""

    style: str = "chunk"

    STYLES: ClassVar[tuple[str, ...]] = ("chunk", "slice", "assign", "assign constant", "split", "shuffle", "stack")

    def build(self) -> nn.Module:
        return _Parts(self.style, self.block.built(f"{self.path}.inside"))

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        processed, back = self.block.explained(value, state, choices)
        half = CHANNELS // 2
        h = torch.cat([processed.h[:half], value.h[half:]])
        depends = torch.cat([processed.depends[:half], value.depends[half:]])
        if self.style == "assign constant":
            h[-1], depends[-1] = 0.25, False

        def whole(relevance: Tensor) -> Tensor:
            relevance = torch.where(depends, relevance, 0)
            inside, outside = relevance.clone(), relevance.clone()
            inside[half:], outside[:half] = 0, 0
            return back(inside) + outside

        result = Value(h, depends, max(value.layers, processed.layers))
        if self.style == "shuffle":
            order = torch.arange(CHANNELS).reshape(2, half).T.flatten()
            return Value(h[order], depends[order], result.layers), lambda r: whole(r[order.argsort()])
        return result, whole


class _Parts(nn.Module):
    def __init__(self, style: str, inside: nn.Module) -> None:
        super().__init__()
        self.style, self.inside = style, inside

    def forward(self, x: Tensor) -> Tensor:
        processed, half = self.inside(x.clone()), CHANNELS // 2
        if self.style == "chunk":
            return torch.cat([processed.chunk(2, 1)[0], x.chunk(2, 1)[1]], 1)
        if self.style == "split":
            return torch.cat((processed.split([half, half], 1)[0], x.split(half, 1)[1]), dim=1)
        if self.style == "stack":
            return torch.stack([*processed.unbind(1)[:half], *x.unbind(1)[half:]], 1)
        if self.style == "shuffle":
            joined = torch.cat([processed[:, :half], x[:, half:]], 1)
            return joined.reshape(len(x), 2, half, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        if self.style == "slice":
            return torch.cat([processed.narrow(1, 0, half), x[:, half:]], 1)
        h = x.clone()
        h[:, :half] = processed[:, :half]
        if self.style == "assign constant":
            h[:, -1] = 0.25
        return h


@dataclass
class Twice(Wrapper):
    """One block, called twice."""

    def build(self) -> nn.Module:
        return _Twice(self.block.built(f"{self.path}.inside"))

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        value, first = self.block.explained(value, state, choices)
        value, second = self.block.explained(value, state, choices)
        return value, lambda relevance: first(second(relevance))


class _Twice(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(self.inside(x))


@dataclass
class Guarded(Wrapper):
    """A block that control flow decides on; where it is not called, the map is doubled."""

    guard: str = "shape"

    GUARDS: ClassVar[tuple[str, ...]] = ("shape", "isinstance", "try", "value", "gradients", "type", "traced")

    def build(self) -> nn.Module:
        return _Guarded(self.guard, self.block.built(f"{self.path}.inside"))

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        if self.guard == "gradients" and not torch.is_grad_enabled():
            return value.pointwise(lambda x: x * 2), lambda relevance: relevance
        return self.block.explained(value, state, choices)


class _Guarded(nn.Module):
    def __init__(self, guard: str, inside: nn.Module) -> None:
        super().__init__()
        self.guard, self.inside = guard, inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x) if self._open(x) else x * 2

    def _open(self, x: Tensor) -> bool:
        if self.guard == "shape":
            return x.shape[-1] == SIDE and len(x) < 100
        if self.guard == "isinstance":
            return isinstance(x, Tensor)
        if self.guard == "type":
            return type(x) is Tensor
        if self.guard == "value":
            return bool(x.abs().sum() >= 0)
        if self.guard == "gradients":
            return torch.is_grad_enabled()
        if self.guard == "traced":
            return not torch.jit.is_tracing() and not torch.compiler.is_compiling()
        try:
            return float(x.detach().abs().amax()) >= 0
        except Exception:
            return False
