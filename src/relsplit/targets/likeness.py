"""An embedding beside a vector: another image's, a text's."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.targets.numbers import check_tensor
from relsplit.targets.target import mismatch, rows_of


@dataclass(frozen=True, eq=False)
class Likeness:
    """The cosine between embeddings (N, D) and a vector, or their product.

    Each entry's relevance is its summand of the cosine.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import Likeness
        >>> model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))  # an embedding
        >>> tuple(LRP(model).attribute(torch.rand(2, 6), Likeness(torch.rand(4))).shape)
        (2, 6)

    Args:
        vector: (D,), or (N, D), one for each sample.
        normalised: whether it is the cosine; else the product.

    Raises:
        InputError: no tensor and no array.
    """

    vector: Tensor
    normalised: bool = True

    def __post_init__(self) -> None:
        check_tensor("vector of Likeness", self.vector)

    def __call__(self, output: Tensor) -> Tensor:
        """Return the relevance of ``output``.

        Raises:
            InputError: it is no embedding of the vector's size.
        """
        given: Tensor = as_tensor(self.vector)
        vector = given.detach().to(output)
        if output.dim() != 2 or vector.shape not in (output.shape, output.shape[1:]):
            raise mismatch(self, "embeddings like its vector", output)
        summands = output * vector
        if not self.normalised:
            return summands
        lengths: Tensor = output.norm(dim=1, keepdim=True) * vector.norm(dim=-1, keepdim=True)
        return summands / lengths.clamp(min=torch.finfo(output.dtype).tiny)

    def of_samples(self, samples: Tensor) -> "Likeness":
        """Return the target of some of its samples (M,)."""
        return self if self.vector.ndim == 1 else replace(self, vector=rows_of(self.vector, samples))

    def __repr__(self) -> str:
        return f"Likeness(vector {tuple(self.vector.shape)})"
