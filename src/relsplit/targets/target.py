"""What targets have in common: which part of an output they are about, and the error for another kind of output."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.errors import InputError
from relsplit.networks.described import described
from relsplit.networks.outputs import OutputChoice, Part, chosen_output, only_part
from relsplit.targets.key import Key

TargetFunction = Callable[[Tensor], Tensor]
"""From an output (N, ...) to the relevance of its entries, of the same shape."""


Explained = int | Tensor | TargetFunction
"""Of a tensor: one class, a class for each image, or a function to its relevance."""
Target = Explained | Key
"""Any of these, of the output or of a part of it."""


def taken_apart(target: Any, choice: "OutputChoice | None" = None) -> tuple[Part, Any]:
    """Return which part of an output a target is about, and what is explained of that.

    Args:
        target: a class, one for each image, None for the predicted one, a function of the output, or a :class:`Key`.
        choice: of an explainer, the part that all its targets are about; None: the obvious one, or the target's.

    Returns:
        The function to the part, and a class, classes, None or a function of that part.
    """
    whole, explained = opened(target, choice)
    own = own_part(explained)
    return lambda output: own(whole(output)), explained


def opened(target: Any, choice: "OutputChoice | None" = None) -> tuple[Part, Any]:
    """Return the part of an output that is named around what is explained, and that; see :func:`taken_apart`."""
    parts: list[Part] = [] if choice is None else [partial(chosen_output, choice=choice)]
    while isinstance(target, Key):
        parts.append(target.part)
        target = target.target

    def part(output: Any) -> Any:
        for each in parts:
            output = each(output)
        return output

    return part, target


def own_part(explained: Any) -> Part:
    """Return the function to the part that what is explained is of by itself: the obvious one, or a target's own."""
    part: Part = getattr(explained, "part", only_part)
    return part


def within(target: Any, explained: Any) -> Any:
    """Return a target of the same part of an output with something else explained of it.

    Args:
        target: whose parts, if it is a :class:`Key`.
        explained: a class, one for each image, or a function of that part.
    """
    return replace(target, target=within(target.target, explained)) if isinstance(target, Key) else explained


def rows_of(value: Any, samples: Tensor) -> Any:
    """Return of what a target holds of each sample, (N, ...), some rows (M, ...); one number for all as it is."""
    held = as_tensor(value)
    return held[samples.to(held.device)] if isinstance(held, Tensor) and held.dim() else value


def mismatch(target: object, expected: str, output: object) -> InputError:
    """Return the error that a target is for another kind of output than a network has.

    Args:
        target: whose ``repr`` the message begins with.
        expected: what it is for.
        output: what the network returned.
    """
    return InputError(f"target: {target!r} is of {expected}, but the network returned {described(output)}")
