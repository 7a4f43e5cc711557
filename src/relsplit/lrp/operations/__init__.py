"""What an operation does with relevance on its way back: one file per way, chosen by the operation's name.

A file declares which of PyTorch's operations it handles with ``@OPERATIONS.register("add", "sub")`` on a function
``(call) -> what the operation returned`` that runs ``call`` and notes the steps it makes. The names are those of
PyTorch's ``aten`` operations, without the underscore of those in place; others are called "library::name". All files of
this folder are found by themselves.
"""

import functools
from typing import Any

from relsplit.lrp.recording.recorder import Handle, Kind
from relsplit.registry import Registry

OPERATIONS: Registry[Handle] = Registry("operation", __name__)


@functools.cache
def kind_of(func: Any) -> Kind:
    """Return what is known of an operation, by the overload that is called."""
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
    return Kind(name, OPERATIONS.find(name), written, outs, func._can_decompose())
