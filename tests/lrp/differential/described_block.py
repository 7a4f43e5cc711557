"""What a block of a described network is: it builds its module, and says what relevance does there.

A block takes a feature map (CHANNELS, SIDE, SIDE) and returns one. What a module does in PyTorch's many ways (in place,
on views, by hooks, by weights that are computed, by control flow) its description says in one plain way. Python
attributes are part of the description: who changes one on the module changes it here, too. Weights are read from the
network's state, so that they are those of the very moment.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dense_relevance import Back, Choices, Value
from torch import Tensor, nn

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
