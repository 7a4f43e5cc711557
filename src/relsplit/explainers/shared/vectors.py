"""What the vectors of tokens say of the tokens."""

from torch import Tensor


def length(vectors: Tensor) -> Tensor:
    """Return the Euclidean lengths (N, T) of vectors (N, T, D): how steep a gradient is, which has no sign of its own.

    Where a method has contributions instead, their sum is the token's.
    """
    lengths: Tensor = vectors.norm(dim=-1)
    return lengths
