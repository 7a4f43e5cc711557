"""Indices, masks and weights that the network writes over later: relevance goes back by what they were."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from between import Between
from plain_networks import alike, images
from torch import Tensor

from relsplit import LRP

_UPPER = torch.ones(7, 7, dtype=torch.float64).triu()
_TOP = (torch.arange(7) < 3)[:, None]


def _indices(x: Tensor) -> Tensor:
    at, parts = torch.arange(2), []
    for _ in range(4):
        parts.append(x[:, at])
        at += 2
    return torch.cat(parts[::-1], 1)


def _indices_apart(x: Tensor) -> Tensor:
    return torch.cat([x[:, torch.arange(2) + start] for start in (6, 4, 2, 0)], 1)


def _mask(x: Tensor) -> Tensor:
    mask = _TOP.clone()
    first = torch.where(mask, x, x.flip(1))
    return torch.where(mask.logical_not_(), first, x.flip(2))


def _mask_apart(x: Tensor) -> Tensor:
    return torch.where(~_TOP, torch.where(_TOP, x, x.flip(1)), x.flip(2))


def _twice(layer: Callable[[Tensor, Tensor], Tensor], x: Tensor, apart: bool) -> Tensor:
    weight = _UPPER.clone()
    first = layer(x, weight)
    return layer(first, weight.mT.clone() if apart else weight.copy_(weight.mT.clone()))


def _kernel(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight[None, None].expand(8, 1, 7, 7), padding=3, groups=8)


def _grid(x: Tensor, apart: bool) -> Tensor:
    turned = torch.tensor([[[1.0, 0, 0.3], [0, 1, 0]]], dtype=x.dtype).expand(len(x), -1, -1)
    grid = F.affine_grid(turned, list(x.shape), align_corners=False)
    first = F.grid_sample(x, grid, align_corners=False)
    return F.grid_sample(first, -grid if apart else grid.neg_(), align_corners=False) + x


_CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "indices": (_indices, _indices_apart),
    "mask": (_mask, _mask_apart),
    "convolution": (lambda x: _twice(_kernel, x, False), lambda x: _twice(_kernel, x, True)),
    "dense": (lambda x: _twice(F.linear, x, False), lambda x: _twice(F.linear, x, True)),
    "product": (lambda x: _twice(lambda h, w: w @ h, x, False), lambda x: _twice(lambda h, w: w @ h, x, True)),
    "grid": (lambda x: _grid(x, False), lambda x: _grid(x, True)),
}


@pytest.mark.parametrize("name", _CASES)
def test_what_is_written_over_later_does_not_change_the_map(name: str) -> None:
    reused, apart = (Between(function) for function in _CASES[name])
    torch.testing.assert_close(reused(images()), apart(images()))
    alike(LRP(reused).attribute(images(), 1), LRP(apart).attribute(images(), 1))
