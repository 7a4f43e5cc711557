"""Which of a network's outputs holds its class scores."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from relsplit.errors import InputError
from relsplit.networks.described import described

OutputChoice = str | int | Callable[[Any], Any]
"""A name, an index, or a function from the network's output to the tensor that is explained."""

Part = Callable[[Any], Any]
"""From what a network returns to the tensor that is explained."""

_USUAL = ("logits", "out")


def chosen_output(output: Any, choice: OutputChoice | None) -> Any:
    """Return the part of a network's output that is explained.

    Args:
        output: what the network returns.
        choice: which part; None finds the obvious one: the only one, or the one called "logits" (or "out", as
            torchvision's segmentation networks call it).

    Raises:
        InputError: there is no such part, or none is obvious.
    """
    if callable(choice):
        return choice(output)
    if isinstance(output, Tensor):
        if choice is not None:
            raise InputError(f"output: the model returns one tensor, so there is no part {choice!r}: leave it out")
        return output
    named = _named(output)
    if choice is not None:
        found = _part(output, named, choice)
        if found is None:
            raise InputError(f"output: the model returns no part {choice!r}: {_parts(output, named)}")
        return found
    present = {name: part for name, part in named.items() if part is not None}
    for name in _USUAL:
        if name in present:
            return present[name]
    parts = list(present.values()) if named else [part for part in _sequence(output) if part is not None]
    if len(parts) == 1:
        return chosen_output(parts[0], None)
    raise InputError(
        "the model must return one tensor of class scores: say which part of its output that is with output=, a name, "
        f"an index or a function, or with a target of relsplit.targets: {_parts(output, named)}"
    )


def obvious_part(output: Any) -> Any:
    """Return the obvious part of a network's output if there is one, else the output as it is."""
    if isinstance(output, Tensor):
        return output
    try:
        return chosen_output(output, None)
    except InputError:
        return output


def only_part(output: Any) -> Any:
    """Return the obvious part of a network's output.

    Raises:
        InputError: none is obvious.
    """
    return chosen_output(output, None)


def _part(output: Any, named: Mapping[str, Any], choice: str | int) -> Any:
    if isinstance(choice, str):
        return named.get(choice)
    parts = list(named.values()) if named else _sequence(output)
    return parts[choice] if -len(parts) <= choice < len(parts) else None


def _named(output: Any) -> dict[str, Any]:
    if isinstance(output, Mapping):
        return {str(name): part for name, part in output.items()}
    if hasattr(output, "__dataclass_fields__"):
        return {name: getattr(output, name) for name in output.__dataclass_fields__}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    return {}


def _sequence(output: Any) -> list[Any]:
    return list(output) if isinstance(output, (tuple, list)) else []


def _parts(output: Any, named: Mapping[str, Any]) -> str:
    if named:
        kind = "dict" if isinstance(output, Mapping) else type(output).__name__
        return f"it returns a {kind} with {', '.join(named)}"
    parts = _sequence(output)
    if not parts:
        return f"it returns {described(output)}"
    found = f"it returns {len(parts)} parts, 0 to {len(parts) - 1}"
    is_detector = all(isinstance(part, Mapping) and "boxes" in part for part in parts)
    return f"{found}, with the boxes of an image each: explain one with Detection(0)" if is_detector else found
