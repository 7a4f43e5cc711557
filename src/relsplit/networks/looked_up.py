"""The vectors that a network looks up by tokens: seen, and replaced by others."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

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
        rows: returns the table (vocabulary, D), from which they are.
    """

    place: int
    vectors: Tensor
    rows: Callable[[], Tensor]

    @cached_property
    def table(self) -> Tensor:
        """(vocabulary, D); of one-hot vectors as many columns as rows, which is why it is made only if it is asked."""
        return self.rows()


Pooling = Literal["sum", "mean", "max"]


def pooled(vectors: Tensor, mode: Pooling, present: Tensor | None = None) -> Tensor:
    """Return what ``F.embedding_bag`` makes of the vectors of each bag, (N, D).

    Args:
        vectors: (N, T, D).
        mode: its own.
        present: booleans (N, T, 1), False where a token is padding; None: nowhere.
    """
    filled = vectors
    if present is not None:
        filled = vectors.masked_fill(~present, -torch.inf if mode == "max" else 0.0)
    if mode == "max":
        greatest = filled.amax(1)
        return greatest if present is None else greatest.masked_fill(~present.any(1), 0.0)
    total = filled.sum(1)
    if mode == "sum":
        return total
    return total / (vectors.shape[1] if present is None else present.sum(1).clamp(min=1))


class LookUps(TorchFunctionMode):
    """While it is on, in this thread, what is looked up by some tokens is seen, and may be replaced.

    A look-up is an ``nn.Embedding`` or ``F.embedding``, a table by index, an ``nn.EmbeddingBag`` or ``F.embedding_bag``
    with as many tokens for each sample, or ``F.one_hot``, whose vectors are taken for floating point numbers; by the
    tokens themselves, or by integers that were made of them and equal them (a view, a copy, another type). What is
    looked up by other integers, such as positions, is left alone.

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
        result = func(*args, **kwargs)
        if func is F.embedding_bag:
            return self._bags(result, **_BAG.bind(*args, **kwargs).arguments)
        indices, table = _looked_up(func, args, kwargs)
        place = self._place(indices)
        if place is not None:
            return self._seen(place, indices, result, lambda: table)
        first: Any = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
        place = self._place(first)
        if place is not None and func is F.one_hot:
            replaced = self._seen(place, first, result.to(torch.get_default_dtype()), lambda: _one_hot_rows(result))
            return result if self._replace is None else replaced
        if place is not None and _is_whole(result) and result.shape == first.shape and bool((result == first).all()):
            self._equal.append((result, place))
        return result

    def _bags(
        self,
        result: Tensor,
        input: Tensor,
        weight: Tensor,
        offsets: Tensor | None = None,
        mode: Pooling = "mean",
        per_sample_weights: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        **_: Any,
    ) -> Tensor:
        """See a bag as its vectors, which are looked up and pooled."""
        place = self._place(input)
        if place is None:
            return result
        tokens = input
        if offsets is not None:
            bags = len(offsets) - int(include_last_offset)
            size = len(input) // max(bags, 1)
            if size * bags != len(input) or offsets[:bags].tolist() != list(range(0, len(input), max(size, 1))):
                raise InputError(
                    f"inputs: bags of different numbers of tokens, beginning at {offsets[:4].tolist()}...: this method "
                    "needs as many for each sample: fill them up with the embedding's padding_idx"
                )
            tokens = input.reshape(bags, size)
        vectors = self._seen(place, tokens, F.embedding(tokens, weight), lambda: weight)
        if self._replace is None:
            return result
        if per_sample_weights is not None:
            vectors = vectors * per_sample_weights.reshape(*tokens.shape, 1)
        return pooled(vectors, mode, None if padding_idx is None else (tokens != padding_idx).unsqueeze(-1))

    def _place(self, indices: Any) -> int | None:
        if not _is_whole(indices):
            return None
        storage = indices.untyped_storage()._cdata
        return next((place for each, place in self._equal if each.untyped_storage()._cdata == storage), None)

    def _seen(self, place: int, indices: Tensor, vectors: Tensor, rows: Callable[[], Tensor]) -> Tensor:
        tokens = self._tokens[place]
        is_first = indices.shape == tokens.shape and bool((indices == tokens).all())
        if not is_first and not (indices.shape == tokens.T.shape and bool((indices == tokens.T).all())):
            raise InputError(
                f"inputs: tokens {tuple(tokens.shape)} are looked up in parts of {tuple(indices.shape)}: this method "
                "needs a vector for each of them (relsplit.LRP does not)"
            )
        found = LookUp(place, vectors if is_first else vectors.transpose(0, 1), rows)
        self.found.append(found)
        if self._replace is None:
            return vectors
        replacement = self._replace(found)
        return replacement if is_first else replacement.transpose(0, 1)


_BAG = inspect.signature(F.embedding_bag)


def _one_hot_rows(vectors: Tensor) -> Tensor:
    """Return the table that one-hot vectors (N, T, vocabulary) are the rows of."""
    return torch.eye(vectors.shape[-1], device=vectors.device)


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
