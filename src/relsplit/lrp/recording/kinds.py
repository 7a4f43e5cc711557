"""What is known of PyTorch's operations before one of them runs."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from relsplit.lrp.recording.call import Call

Handle = Callable[["Call"], Any]
"""Carries out one operation with ``call.run()``, notes its steps, and returns what it returned."""


@dataclass(frozen=True)
class Kind:
    """What is known of an operation before it runs.

    Attributes:
        name: of the operation, "add" for ``add_`` and ``add.out``, too.
        handle: of its file, None where no file knows it.
        written: places of the arguments that it writes over, and their names where they are given by name.
        outs: names of those that it only writes.
        decomposes: whether PyTorch can carry it out by simpler ones.
        arguments: its arguments' names, with their defaults.
    """

    name: str
    handle: Handle | None
    written: tuple[tuple[int, str], ...]
    outs: tuple[str, ...]
    decomposes: bool
    arguments: tuple[tuple[str, Any], ...]

    def overwritten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
        """Yield the tensors that the operation writes over, of its arguments."""
        for place, name in self.written:
            value = args[place] if place < len(args) else kwargs.get(name)
            if isinstance(value, Tensor):
                yield value


class Kinds:
    """What a method knows of PyTorch's operations.

    Args:
        find: returns the handler of an operation by its name, None where the method has none. The names are those of
            PyTorch's ``aten`` operations, without the underscore of those in place; others are "library::name".
        remedy: what its user can do where there is none, for the message.
        module: whose constant ``KINDS`` it is; a copy of an explainer refers to that.
    """

    def __init__(self, find: Callable[[str], Handle | None], remedy: str, module: str) -> None:
        self.remedy = remedy
        self._find = find
        self._module = module
        self._found: dict[Any, Kind] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _kinds_of, (self._module,)

    def of(self, func: Any) -> Kind:
        """Return what is known of an operation, by the overload that is called."""
        kind = self._found.get(func)
        if kind is None:
            kind = self._found[func] = self._kind(func)
        return kind

    def _kind(self, func: Any) -> Kind:
        schema = func._schema
        library, _, name = schema.name.partition("::")
        written = tuple(
            (place, argument.name)
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        )
        outs = tuple(argument.name for argument in schema.arguments if argument.is_out)
        if written and name.endswith("_") and not name.startswith("__"):
            name = name[:-1]
        if library != "aten":
            name = f"{library}::{name}"
        arguments = tuple((argument.name, argument.default_value) for argument in schema.arguments)
        return Kind(name, self._find(name), written, outs, func._can_decompose(), arguments)


def _kinds_of(module: str) -> Kinds:
    found: Kinds = importlib.import_module(module).KINDS
    return found
