"""LRP written out literally for dense matrices in float64, to compare with.

Any linear layer's matrix is its Jacobian, column by column; then the rules are sums over explicit contributions
``c[j, i] = W[j, i] h[i]``. Nothing here is shared with the library.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def matrix(layer: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    """The matrix (outputs, inputs) of a layer that is affine in its input of ``shape`` (without batch)."""
    size = int(torch.tensor(shape).prod())
    origin = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
    columns = layer(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).flatten(1)
    return (columns - origin).T


def shares(contributions: Tensor, reached: Tensor, kind: str) -> Tensor:
    """Share (outputs, inputs) of each output's relevance that each input receives; rows sum to 1.

    Where a rule has no contribution to follow, the inputs that the output sees receive equal shares; alpha-beta first
    falls back to the contributions of the other sign.
    """
    positive, negative = contributions.clamp(min=0), contributions.clamp(max=0)
    even = reached / reached.sum(1, keepdim=True)
    if kind == "z_plus":
        return _rows(positive, even)
    if kind == "epsilon":
        return _rows(contributions, even)
    if kind == "alpha2_beta1":
        ups, downs = _rows(positive, _rows(negative, even)), _rows(negative, _rows(positive, even))
        return 2 * ups - downs
    if kind == "gamma":
        own = torch.where(contributions.sum(1, keepdim=True) >= 0, positive, negative)
        return _rows(contributions + 0.25 * own, even)
    raise AssertionError(kind)


def _rows(weights: Tensor, otherwise: Tensor) -> Tensor:
    total = weights.sum(1, keepdim=True)
    return torch.where(total == 0, otherwise, weights / total)


def propagate(layer: Callable[[Tensor], Tensor], h: Tensor, relevance: Tensor, kind: str) -> Tensor:
    """Relevance of ``h`` (N, ...) from the relevance of ``layer(h)``."""
    w = matrix(layer, tuple(h.shape[1:])).detach()
    images = [
        shares(w * image.flatten(), (w != 0).double(), kind).T @ r.flatten()
        for image, r in zip(h.double(), relevance.double(), strict=True)
    ]
    return torch.stack(images).reshape(h.shape)
