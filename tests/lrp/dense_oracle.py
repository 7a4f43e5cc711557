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


def _z_plus(c: Tensor, w: Tensor, even: Tensor) -> Tensor:
    return _rows(c.clamp(min=0), even)


def _epsilon(c: Tensor, w: Tensor, even: Tensor) -> Tensor:
    return _rows(c, even)


def _alpha2_beta1(c: Tensor, w: Tensor, even: Tensor) -> Tensor:
    positive, negative = c.clamp(min=0), c.clamp(max=0)
    ups, downs = _rows(positive, _rows(negative, even)), _rows(negative, _rows(positive, even))
    return 2 * ups - downs


def _gamma(c: Tensor, w: Tensor, even: Tensor) -> Tensor:
    own = torch.where(c.sum(1, keepdim=True) >= 0, c.clamp(min=0), c.clamp(max=0))
    return _rows(c + 0.25 * own, even)


SHARES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "z_plus": _z_plus,
    "alpha1_beta0": _z_plus,
    "epsilon": _epsilon,
    "alpha2_beta1": _alpha2_beta1,
    "gamma": _gamma,
    "ratio": lambda c, w, even: _rows(c.abs(), even),
    "flow": lambda c, w, even: _rows(w.abs(), even),
    "ones": lambda c, w, even: _rows(w.clamp(min=0), even),
    "flat": lambda c, w, even: even,
}
"""Of (contributions, weights, even shares), all (outputs, inputs): the share of each output's relevance that each input
receives; rows sum to 1. Where a rule has no contribution to follow, the inputs that the output sees receive equal
shares; alpha-beta first falls back to the contributions of the other sign."""


def _rows(weights: Tensor, otherwise: Tensor) -> Tensor:
    total = weights.sum(1, keepdim=True)
    return torch.where(total == 0, otherwise, weights / total)


def propagate(layer: Callable[[Tensor], Tensor], h: Tensor, relevance: Tensor, kind: str) -> Tensor:
    """Relevance of ``h`` (N, ...) from the relevance of ``layer(h)``."""
    w = matrix(layer, tuple(h.shape[1:])).detach()
    images = [
        SHARES[kind](w * image.flatten(), w, _rows((w != 0).double(), w.new_zeros(()))).T @ r.flatten()
        for image, r in zip(h.double(), relevance.double(), strict=True)
    ]
    return torch.stack(images).reshape(h.shape)
