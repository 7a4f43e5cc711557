"""Several classes at once: together, or one against another."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.errors import InputError
from relsplit.targets.numbers import check_index, is_real
from relsplit.targets.target import mismatch


@dataclass(frozen=True, eq=False)
class Weighted:
    """A weighted sum of the output's entries: ``{2: 1, 7: 1}`` two labels, ``{2: 1, 7: -1}`` one against the other.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import Weighted
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(LRP(model).attribute(torch.rand(2, 3, 16, 16), Weighted({2: 1, 4: -1})).shape)
        (2, 3, 16, 16)

    Args:
        weights: of the entries of (N, K), by index; all others count nothing.

    Raises:
        InputError: no weights, or none by index.
    """

    weights: Mapping[int, float]

    def __post_init__(self) -> None:
        if not isinstance(self.weights, Mapping) or not self.weights:
            raise InputError("target: Weighted takes weights by index, such as {2: 1.0, 7: -1.0}")
        for index, weight in self.weights.items():
            check_index("index of Weighted", index)
            if not is_real(weight):
                raise InputError(f"target: weight {index} of Weighted must be a number, not {weight!r}")

    def __call__(self, output: Tensor) -> Tensor:
        """Return the relevance of ``output`` (N, K): each entry times its weight.

        Raises:
            InputError: the output is of another shape, or has no such entry.
        """
        if output.dim() != 2 or not all(0 <= index < output.shape[1] for index in self.weights):
            raise mismatch(self, f"scores (N, K) with K > {max(self.weights)}", output)
        weights = output.new_zeros(output.shape[1])
        for index, weight in self.weights.items():
            weights[index] = as_tensor(weight)
        return output * weights

    def of_samples(self, samples: Tensor) -> "Weighted":
        """Return the target of some of its samples (M,): the same."""
        return self
