"""One number of the output, as the network has it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.errors import InputError
from relsplit.targets.numbers import check_whole
from relsplit.targets.target import mismatch, rows_of


@dataclass(frozen=True, eq=False)
class Value:
    """One entry of each sample's output, with its own sign and size: a logit, a regression.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import Value
        >>> model = nn.Linear(6, 1, bias=False)  # a regression
        >>> table = torch.rand(2, 6)
        >>> relevance = LRP(model, rule="epsilon", input_rule="epsilon", scores="logits").attribute(table, Value())
        >>> torch.allclose(relevance.sum(1), model(table)[:, 0])
        True

    Args:
        index: of (N, K) which one, or one for each sample, (N,); of outputs of a higher rank a tuple of indices; None:
            the only one of (N,) or (N, 1).

    Raises:
        InputError: no whole numbers.
    """

    index: int | tuple[int, ...] | Tensor | None = None

    def __post_init__(self) -> None:
        if self.index is not None:
            check_whole("index of Value", self.index)

    def __call__(self, output: Tensor) -> Tensor:
        """Return the relevance of ``output``: the entry's own value, 0 elsewhere.

        Raises:
            InputError: the output is of another shape, or has no such entry.
        """
        if self.index is None:
            if output.dim() != 1 and tuple(output.shape[1:]) != (1,):
                raise mismatch(self, "one number a sample, (N,) or (N, 1)", output)
            return output
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        if output.dim() != len(index) + 1:
            raise mismatch(self, f"an output of rank {len(index) + 1}", output)
        chosen = torch.zeros_like(output, dtype=torch.bool)
        entries: list[Tensor] = [torch.arange(len(output), device=output.device)]
        for place, size in zip(index, output.shape[1:], strict=True):
            found = torch.as_tensor(as_tensor(place), device=output.device)
            if bool(((found < -size) | (found >= size)).any()):
                raise mismatch(self, "an entry that exists", output)
            if found.dim() and found.shape != (len(output),):
                raise InputError(f"target: Value has {tuple(found.shape)} indices for {len(output)} samples")
            entries.append(found)
        chosen[tuple(entries)] = True
        return torch.where(chosen, output, 0)

    def of_samples(self, samples: Tensor) -> "Value":
        """Return the target of some of its samples (M,)."""
        if isinstance(self.index, tuple):
            return replace(self, index=tuple(rows_of(each, samples) for each in self.index))
        return replace(self, index=rows_of(self.index, samples))
