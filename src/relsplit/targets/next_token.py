"""What a language model says next."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.errors import InputError
from relsplit.targets.numbers import check_whole
from relsplit.targets.target import mismatch, rows_of


@dataclass(frozen=True, eq=False)
class NextToken:
    """The score of one token at one position of an output (N, T, vocabulary).

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import NextToken
        >>> model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))  # (N, T, vocabulary)
        >>> tuple(LRP(model).attribute(torch.randint(20, (2, 7)), NextToken()).shape)
        (2, 7)

    Args:
        token: its id, one for all samples or (N,); None: the likeliest.
        position: of the token before it, which the network predicts it from; -1 is the last one. Of samples of
            different lengths one for each, (N,).
        score: its "logit" or its "probability".

    Raises:
        InputError: another score, or no whole numbers.
    """

    token: int | Tensor | None = None
    position: int | Tensor = -1
    score: Literal["logit", "probability"] = "logit"

    returns_new: ClassVar[bool] = True  # a walk may write over it: with a large vocabulary a copy is the largest tensor

    def __post_init__(self) -> None:
        if self.token is not None:
            check_whole("token of NextToken", self.token)
        check_whole("position of NextToken", self.position)
        if self.score not in ("logit", "probability"):
            raise InputError(f"target: the score of NextToken is 'logit' or 'probability', not {self.score!r}")

    def __call__(self, output: Tensor) -> Tensor:
        """Return the relevance of ``output``: the token's score, 0 elsewhere.

        Raises:
            InputError: the output is of another shape, or has no such position or token.
        """
        if output.dim() != 3:
            raise mismatch(self, "logits (N, T, vocabulary)", output)
        count, length, vocabulary = output.shape
        rows = torch.arange(count, device=output.device)
        position = self._each("position", self.position, count, length).to(output.device)
        here = output[rows, position]
        token = here.argmax(1) if self.token is None else self._each("token", self.token, count, vocabulary)
        scores = here if self.score == "logit" else here.softmax(1)
        token = token.to(output.device)
        relevance = torch.zeros_like(output)
        relevance[rows, position, token] = scores[rows, token]
        return relevance

    def pinned(self, output: Tensor) -> "NextToken":
        """Return the target with its token as it is in ``output``."""
        if self.token is not None:
            return self
        here = output[torch.arange(len(output)), self._each("position", self.position, *output.shape[:2])]
        return replace(self, token=here.argmax(1))

    def of_samples(self, samples: Tensor) -> "NextToken":
        """Return the target of some of its samples (M,)."""
        return replace(self, token=rows_of(self.token, samples), position=rows_of(self.position, samples))

    def _each(self, option: str, value: "int | Tensor", count: int, size: int) -> Tensor:
        values = torch.as_tensor(as_tensor(value))
        values = values.expand(count) if values.dim() == 0 else values
        if values.shape != (count,) or bool(((values < -size) | (values >= size)).any()):
            raise InputError(f"target: {option} of NextToken must be one of {size}, or one for each of {count} samples")
        return values % size

    def __repr__(self) -> str:
        return "NextToken()" if self.token is None else f"NextToken({self.token})"
