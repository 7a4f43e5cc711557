"""A class in a dense output: where it was found, in a mask, or at one place."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.errors import InputError
from relsplit.targets.numbers import check_index, check_place, check_tensor
from relsplit.targets.target import mismatch, rows_of


@dataclass(frozen=True, eq=False)
class Pixels:
    """One class of an output (N, K, ...) with scores at every place: a segmentation, a density, a label a frame.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import Pixels
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))  # (N, 4, H, W)
        >>> images, mask = torch.rand(2, 3, 8, 8), torch.zeros(8, 8, dtype=torch.bool)
        >>> mask[2:4, 3:6] = True
        >>> tuple(LRP(model).attribute(images, Pixels(1, mask)).shape)
        (2, 3, 8, 8)

    Args:
        index: of the class; 0 where there is one channel.
        mask: the places, booleans (N, ...) or (...) for all samples; None: those where the class is predicted.
        at: one place instead, such as (row, column).
        score: its "probability", by a softmax over the channels (of one channel, its sigmoid), or its "value".

    Raises:
        InputError: a mask and a place; or an option that is of another kind.
    """

    index: int
    mask: Tensor | None = None
    at: tuple[int, ...] | None = None
    score: Literal["probability", "value"] = "probability"

    def __post_init__(self) -> None:
        check_index("index of Pixels", self.index)
        if self.mask is not None and self.at is not None:
            raise InputError("target: Pixels takes a mask or a place (at), not both")
        if self.mask is not None:
            check_tensor("mask of Pixels", self.mask)
        if self.at is not None:
            check_place("at of Pixels", self.at)
        if self.score not in ("probability", "value"):
            raise InputError(f"target: the score of Pixels is 'probability' or 'value', not {self.score!r}")

    def __call__(self, output: Tensor) -> Tensor:
        """Return the relevance of ``output``: the class's score at the places, 0 elsewhere.

        Raises:
            InputError: the output is of another shape, or the class was found nowhere in a sample.
        """
        name = f"Pixels({self.index})"
        if output.dim() < 3 or not 0 <= self.index < output.shape[1]:
            raise mismatch(self, f"scores (N, K, ...) at every place with K > {self.index}", output)
        scores = output
        if self.score == "probability":
            scores = output.softmax(1) if output.shape[1] > 1 else output.sigmoid()
        places = self._places(output)
        empty = (~places.flatten(1).any(1)).nonzero().flatten().tolist()
        if empty:
            raise InputError(f"target: {name} has no place in sample {empty[0]}: give a mask, or at=, or leave it out")
        chosen = torch.zeros_like(output, dtype=torch.bool)
        chosen[:, self.index] = places
        return torch.where(chosen, scores, 0)

    def pinned(self, output: Tensor) -> "Pixels":
        """Return the target with its places as they are in ``output``."""
        return replace(self, mask=self._places(output), at=None)

    def of_samples(self, samples: Tensor) -> "Pixels":
        """Return the target, once pinned, of some of its samples (M,)."""
        return replace(self, mask=rows_of(self.mask, samples))

    def _places(self, output: Tensor) -> Tensor:
        if self.at is not None:
            sizes = output.shape[2:]
            if len(self.at) != len(sizes) or not all(-n <= i < n for i, n in zip(self.at, sizes, strict=True)):
                raise mismatch(self, f"an output with a place {self.at}", output)
            places = torch.zeros_like(output[:, 0], dtype=torch.bool)
            here: tuple[Any, ...] = (slice(None), *self.at)
            places[here] = True
            return places
        if self.mask is None:
            return output.argmax(1) == self.index if output.shape[1] > 1 else output[:, 0] > 0
        given: Tensor = as_tensor(self.mask)
        mask = given.to(output.device) != 0
        if mask.shape not in (output.shape[2:], (len(output), *output.shape[2:])):
            raise mismatch(self, f"places as its mask has, {tuple(mask.shape)}", output)
        return mask.expand(len(output), *output.shape[2:])

    def __repr__(self) -> str:
        places = "" if self.mask is None else f", mask {tuple(self.mask.shape)}"
        places += "" if self.at is None else f", at={self.at}"
        return f"Pixels({self.index}{places})"
