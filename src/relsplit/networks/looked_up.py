"""The vectors that a network looks up by tokens: seen, and replaced by others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relsplit.errors import InputError


@dataclass(frozen=True)
class LookUp:
    """Vectors that were looked up.

    Attributes:
        place: of the tokens among those of the call.
        vectors: (N, T, D).
        table: (vocabulary, D), from which they are.
    """

    place: int
    vectors: Tensor
    table: Tensor


class LookUps(TorchFunctionMode):
    """While it is on, in this thread, what is looked up by some tokens is seen, and may be replaced.

    A look-up is an ``nn.Embedding`` or ``F.embedding``, or a table by index; by the tokens themselves, or by integers
    that were made of them and equal them (a view, a copy, another type). What is looked up by other integers, such as
    positions, is left alone.

    Args:
        tokens: integers (N, T) each.
        replace: returns what takes the place of a look-up's vectors, (N, T, D); None: nothing does.

    Attributes:
        found: the look-ups, in their order.
    """

    def __init__(self, tokens: Sequence[Tensor], replace: Callable[[LookUp], Tensor] | None = None) -> None:
        super().__init__()
        self.found: list[LookUp] = []
        self._tokens = list(tokens)
        self._replace = replace
        # Kept as long as the mode is: the number of a storage that is gone could be given to another.
        self._equal = [(each, place) for place, each in enumerate(tokens)]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        indices, table = _looked_up(func, args, kwargs)
        place = self._place(indices)
        result = func(*args, **kwargs)
        if place is not None:
            return self._seen(place, indices, table, result)
        first: Any = args[0] if args else None
        place = self._place(first)
        if place is not None and _is_whole(result) and result.shape == first.shape and bool((result == first).all()):
            self._equal.append((result, place))
        return result

    def _place(self, indices: Any) -> int | None:
        if not _is_whole(indices):
            return None
        storage = indices.untyped_storage()._cdata
        return next((place for each, place in self._equal if each.untyped_storage()._cdata == storage), None)

    def _seen(self, place: int, indices: Tensor, table: Tensor, vectors: Tensor) -> Tensor:
        tokens = self._tokens[place]
        is_first = indices.shape == tokens.shape and bool((indices == tokens).all())
        if not is_first and not (indices.shape == tokens.T.shape and bool((indices == tokens.T).all())):
            raise InputError(
                f"inputs: tokens {tuple(tokens.shape)} are looked up in parts of {tuple(indices.shape)}: this method "
                "needs a vector for each of them (relsplit.LRP does not)"
            )
        found = LookUp(place, vectors if is_first else vectors.transpose(0, 1), table)
        self.found.append(found)
        if self._replace is None:
            return vectors
        replacement = self._replace(found)
        return replacement if is_first else replacement.transpose(0, 1)


def _is_whole(value: Any) -> bool:
    """Whether it is a tensor of integers, which could be tokens."""
    return isinstance(value, Tensor) and not value.is_floating_point() and value.dtype != torch.bool


def _looked_up(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the indices and the table of a look-up."""
    if func is F.embedding:
        given = dict(zip(("input", "weight"), args, strict=False)) | kwargs
        return given.get("input"), given.get("weight")
    if getattr(func, "__name__", "") == "__getitem__" and len(args) == 2 and isinstance(args[1], Tensor):
        return (args[1], args[0]) if args[0].dim() == 2 and args[0].is_floating_point() else (None, None)
    return None, None
