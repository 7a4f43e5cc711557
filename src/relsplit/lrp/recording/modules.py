"""Which module is running, and which line of the user's: read off Python's stack.

Nothing is hung on the user's modules, and nothing of PyTorch is patched: other threads never notice. The stack also
knows modules that no hook could reach, such as one that a closure calls.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

_CALLS = {
    nn.Module._call_impl.__code__,
    nn.Module._wrapped_call_impl.__code__,
}
_OURS = str(Path(__file__).parents[2])
_TORCH = str(Path(torch.__file__).parent)


def running_module(paths: Mapping[int, str]) -> str:
    """Return the path of the innermost running module, "" where none with a path is running.

    Args:
        paths: of modules by their ``id``.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _CALLS:
            path = paths.get(id(frame.f_locals["self"]))
            if path is not None:
                return path
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def users_line() -> str:
    """Return "file:line" of the innermost running code that is neither PyTorch's nor this library's, "" for none."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, _TORCH, "<")):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
