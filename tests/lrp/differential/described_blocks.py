"""Networks as descriptions: each block builds its PyTorch module, and says by dense matrices what relevance does there.

A block takes a feature map (CHANNELS, SIDE, SIDE) and returns one. What a module does in PyTorch's many ways (in place,
on views, by hooks, by weights that are computed, by control flow) its description says in one plain way. Python
attributes are part of the description: who changes one on the module changes it here, too. Weights are read from the
network's state, so that they are those of the very moment.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from dense_relevance import Back, Choices, Value, added, attended, averaged, greatest, matrix, weighted, winner
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

CHANNELS, SIDE = 4, 5

State = dict[str, Tensor]


@dataclass
class Hook:
    """A forward hook or pre-hook that changes values; ``in_place`` ones write into what they are given."""

    operation: str
    before: bool
    in_place: bool = False

    def value(self, x: Tensor) -> Tensor:
        return {"times": x * 1.7, "plus": x + 0.3, "relu": x.relu(), "over": x / 0.4}[self.operation]

    def register(self, module: nn.Module) -> Any:
        if self.before:
            return module.register_forward_pre_hook(lambda _module, args: (self.value(args[0]), *args[1:]))
        if self.in_place:
            return module.register_forward_hook(self._write)
        return module.register_forward_hook(lambda _module, _args, output: self.value(output))

    def _write(self, _module: nn.Module, _args: object, output: Tensor) -> None:
        output.copy_(self.value(output))


@dataclass
class Block:
    """One step of a network.

    Attributes:
        hooks: on its module.
        path: of its module in the network, once that is built.
    """

    hooks: list[Hook] = field(default_factory=list, kw_only=True)
    path: str = field(default="", kw_only=True)
    module: nn.Module = field(init=False, repr=False, compare=False)

    def built(self, path: str) -> nn.Module:
        """The module, with its hooks."""
        self.path = path
        self.module = self.build()
        for hook in self.hooks:
            hook.register(self.module)
        return self.module

    def build(self) -> nn.Module:
        raise NotImplementedError

    def explained(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        """Its value and its way back; what hooks do here passes relevance on."""
        for hook in self.hooks:
            value = value.pointwise(hook.value) if hook.before else value
        value, back = self.explain(value, state, choices)
        for hook in self.hooks:
            value = value if hook.before else value.pointwise(hook.value)
        return value, back

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        raise NotImplementedError

    def inner(self) -> "Iterator[Block]":
        """The blocks inside, itself first."""
        yield self


# ---------------------------------------------------------------------------------------------- layers with weights

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


# ------------------------------------------------------------------------------- activations, norms, constants, pools


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


# ------------------------------------------------------------------------------------------------------ compositions


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


# --------------------------------------------------------------------------------------------------------- attention


@dataclass
class Attention(Block):
    """A residual attention over the map's positions as tokens, possibly with a class token that is dropped again."""

    kind: str = "fused"
    mask: str = "none"
    heads: int = 1
    class_token: bool = False

    KINDS: ClassVar[tuple[str, ...]] = ("written out", "fused", "module")
    MASKS: ClassVar[tuple[str, ...]] = ("none", "bool", "float", "causal", "closed", "closed float")

    def build(self) -> nn.Module:
        return _Attention(self)

    @property
    def tokens(self) -> int:
        return SIDE * SIDE + self.class_token

    def open(self) -> Tensor:
        """(tokens, tokens) bool: which query may attend to which key; with "closed" some may attend to none."""
        mask = torch.ones(self.tokens, self.tokens, dtype=torch.bool)
        if self.mask == "causal":
            return mask.tril()
        if self.mask != "none":
            mask = (torch.arange(self.tokens)[:, None] + torch.arange(self.tokens)) % 3 > 0
            mask.fill_diagonal_(True)
        if self.mask.startswith("closed"):
            mask[3::4] = False
        return mask

    def bias(self) -> Tensor:
        """What is added to the scores of open keys."""
        if self.mask != "float":
            return torch.zeros(self.tokens, self.tokens, dtype=torch.float64)
        return torch.linspace(-1, 1, self.tokens**2, dtype=torch.float64).reshape(self.tokens, -1)

    def explain(self, value: Value, state: State, choices: Choices) -> tuple[Value, Back]:
        tokens = Value(value.h.flatten(1).T, value.depends.flatten(1).T, value.layers)
        if self.class_token:
            token = state[f"{self.path}.token"].double().reshape(1, CHANNELS)
            tokens = Value(
                torch.cat([token, tokens.h]), torch.cat([torch.zeros(1, CHANNELS) > 0, tokens.depends]), tokens.layers
            )

        def projection(name: str) -> tuple[Tensor, Tensor]:
            if self.kind != "module":
                return tuple(state[f"{self.path}.{name}.{key}"].double() for key in ("weight", "bias"))  # type: ignore[return-value]
            if name == "o":
                return tuple(  # type: ignore[return-value]
                    state[f"{self.path}.attention.out_proj.{key}"].double() for key in ("weight", "bias")
                )
            part = slice("qkv".index(name) * CHANNELS, ("qkv".index(name) + 1) * CHANNELS)
            return tuple(state[f"{self.path}.attention.in_proj_{key}"].double()[part] for key in ("weight", "bias"))  # type: ignore[return-value]

        def dense(name: str, given: Value) -> tuple[Value, Back]:
            weight, bias = projection(name)
            return weighted(
                choices, given, lambda x: F.linear(x, weight, bias), lambda x: F.linear(x, torch.ones_like(weight))
            )

        def by_heads(x: Tensor) -> Tensor:
            return x.reshape(self.tokens, self.heads, -1).transpose(0, 1)

        query, key = (by_heads(F.linear(tokens.h, *projection(name))) for name in "qk")
        values, values_back = dense("v", tokens)
        scores = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5 + self.bias()
        weights = scores.masked_fill(~self.open(), -torch.inf).softmax(-1).nan_to_num(0)
        heads = Value(by_heads(values.h), by_heads(values.depends), values.layers)
        mixed, mixed_back = attended(choices, weights, heads)
        joined = Value(
            *(each.transpose(0, 1).reshape(self.tokens, CHANNELS) for each in (mixed.h, mixed.depends)), mixed.layers
        )
        out, out_back = dense("o", joined)
        result, share = added(choices, tokens, out, identity=True)

        def back(relevance: Tensor) -> Tensor:
            relevance = relevance.flatten(1).T
            if self.class_token:
                relevance = torch.cat([torch.zeros(1, CHANNELS), relevance])
            down = share(relevance)
            of_heads = by_heads(out_back(relevance - down))
            of_values = mixed_back(of_heads).transpose(0, 1).reshape(self.tokens, CHANNELS)
            of_tokens = (values_back(of_values) + down)[int(self.class_token) :]
            return of_tokens.T.reshape(value.h.shape)

        kept = slice(int(self.class_token), None)
        return (
            Value(
                result.h[kept].T.reshape(value.h.shape),
                result.depends[kept].T.reshape(value.h.shape),
                result.layers,
            ),
            back,
        )


class _Attention(nn.Module):
    def __init__(self, description: Attention) -> None:
        super().__init__()
        self.kind, self.heads = description.kind, description.heads
        self.causal = description.mask == "causal" and description.kind == "fused"
        mask: Tensor | None = description.open()
        if description.mask == "none" or self.causal:
            mask = None
        elif description.mask in ("float", "closed float"):
            bias = description.bias().masked_fill(~description.open(), float("-inf"))
            mask = bias.to(torch.get_default_dtype())
        elif description.kind == "module":
            mask = ~mask  # there, True closes
        self.register_buffer("mask", mask)
        if description.class_token:
            self.token = nn.Parameter(torch.randn(1, 1, CHANNELS))
        if self.kind == "module":
            self.attention = nn.MultiheadAttention(CHANNELS, self.heads, batch_first=True)
        else:
            self.q, self.k, self.v, self.o = (nn.Linear(CHANNELS, CHANNELS) for _ in range(4))
        self.class_token = description.class_token

    def forward(self, x: Tensor) -> Tensor:
        t = x.flatten(2).transpose(1, 2)
        if self.class_token:
            t = torch.cat([self.token.expand(len(x), -1, -1), t], 1)
        t = t + self._attend(t)
        if self.class_token:
            t = t[:, 1:]
        return t.transpose(1, 2).reshape(x.shape)

    def _attend(self, t: Tensor) -> Tensor:
        if self.kind == "module":
            return self.attention(t, t, t, attn_mask=self.mask, need_weights=False)[0]
        n, tokens, width = t.shape
        q, k, v = (
            layer(t).reshape(n, tokens, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        if self.kind == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, is_causal=self.causal)
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            if self.mask is not None:
                boolean = self.mask.dtype == torch.bool
                scores = scores.masked_fill(~self.mask, float("-inf")) if boolean else scores + self.mask
            mixed = scores.softmax(-1) @ v
        return self.o(mixed.transpose(1, 2).reshape(n, tokens, width))


# ------------------------------------------------------------------------------------------------------ whole networks


@dataclass
class Described:
    """A network: what is done to the images, a first layer, blocks, and a head.

    Attributes:
        stem: from the images' 3 channels to CHANNELS at SIDE x SIDE.
        body: the blocks.
        head: "mean" (over positions), "flat" (all of them), "max".
        end: "logits", "one logit", "squeezed", "softmax", "sigmoid", "temperature".
        normalised: whether the network normalises its images first.
        hooks: on the network itself.
        temperature: what the scores are divided by, with the end of that name.
    """

    stem: Conv
    body: Sequence
    head: str = "mean"
    end: str = "logits"
    normalised: bool = False
    hooks: list[Hook] = field(default_factory=list)
    temperature: float = 0.5
    network: "Network" = field(init=False, repr=False)

    @property
    def classes(self) -> int:
        return 1 if self.end in ("one logit", "squeezed") else 4

    def built(self, seed: int) -> "Network":
        """The network with seeded weights, in evaluation mode, float64."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Network(self).double().eval()
        for hook in self.hooks:
            hook.register(self.network)
        return self.network

    def blocks(self) -> list[Block]:
        return [self.stem, *self.body.inner()]

    def image_side(self) -> int:
        return SIDE * self.stem.stride

    def explained(self, image: Tensor, choices: Choices) -> "tuple[Tensor, Back]":
        """The scores (classes,) of one image (3, H, W), and the way back."""
        state = {name: each.detach().clone() for name, each in self.network.state_dict().items()}
        value = Value(image.double(), torch.ones_like(image) > 0)
        for hook in self.hooks:
            value = value.pointwise(hook.value) if hook.before else value
        if self.normalised:
            value = value.pointwise(lambda x: (x - 0.4) / 0.3)
        value, first = self.stem.explained(value, state, choices)
        value, rest = self.body.explained(value, state, choices)
        if self.head == "flat":
            value, pooled = value.map(lambda x: x.flatten(1)), lambda r: r.reshape(CHANNELS, SIDE, SIDE)
        elif self.head == "mean":
            value, pooled = averaged(choices, value, lambda x: x.mean((2, 3)))
        else:
            value, pooled = greatest(choices, value)
        weight, bias = (state[f"classify.{key}"].double() for key in ("weight", "bias"))
        value, last = weighted(
            choices, value, lambda x: F.linear(x, weight, bias), lambda x: F.linear(x, torch.ones_like(weight))
        )
        scores = value.h / self.temperature if self.end == "temperature" else value.h
        for hook in self.hooks:
            scores = scores if hook.before else hook.value(scores)
        return scores, lambda relevance: first(rest(pooled(last(relevance))))


class Network(nn.Module):
    """What a :class:`Described` describes."""

    def __init__(self, description: Described) -> None:
        super().__init__()
        self.stem = description.stem.built("stem")
        self.body = description.body.built("body")
        width = CHANNELS * SIDE**2 if description.head == "flat" else CHANNELS
        self.classify = nn.Linear(width, description.classes)
        self.head, self.end, self.normalised = description.head, description.end, description.normalised
        self.temperature = description.temperature
        with torch.no_grad():
            self.classify.weight.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        if self.normalised:
            x = (x - 0.4) / 0.3
        h = self.body(self.stem(x))
        heads = {"flat": lambda: torch.flatten(h, 1), "mean": lambda: h.mean((2, 3)), "max": lambda: h.amax((2, 3))}
        scores = self.classify(heads[self.head]())
        if self.end == "squeezed":
            return scores.squeeze(1)
        if self.end == "softmax":
            return scores.softmax(1)
        if self.end == "sigmoid":
            return scores.sigmoid()
        return scores / self.temperature if self.end == "temperature" else scores
