"""Results that a network has written into memory of its own choice are those of the plain operations."""

from collections.abc import Callable

import pytest
import torch
from between import Between
from plain_networks import alike, images
from torch import Tensor

from relsplit import LRP

_STEPS = torch.arange(8, dtype=torch.float64).reshape(8, 1, 1)


def _buffer(x: Tensor) -> Tensor:
    buffer = torch.mul(x, 2, out=torch.empty_like(x))
    once = buffer.flip(1)
    torch.add(once, 1, out=buffer)
    return torch.sqrt(buffer, out=buffer)


def _constant(x: Tensor) -> Tensor:
    buffer = torch.mul(x, 2, out=torch.empty_like(x))
    first = x + buffer
    torch.add(torch.ones(7, 7, dtype=x.dtype), _STEPS, out=buffer[0])
    return first * buffer[0]


def _parts(x: Tensor) -> Tensor:
    mean = torch.mean(x, 1, keepdim=True, out=torch.empty(0, dtype=x.dtype))
    return torch.cat([x[:, 1:], mean], 1, out=torch.empty_like(x))


def _loop(x: Tensor) -> Tensor:
    buffer = torch.empty_like(x)
    for _ in range(3):
        x = torch.mul(x, 2, out=buffer).flip(1) + x
    return x


def _loop_apart(x: Tensor) -> Tensor:
    for _ in range(3):
        x = (x * 2).flip(1) + x
    return x


def _largest(x: Tensor) -> Tensor:
    values, indices = torch.empty(0, dtype=x.dtype), torch.empty(0, dtype=torch.long)
    torch.topk(x, 8, 1, out=(values, indices))
    return values


_CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "buffer": (_buffer, lambda x: ((x * 2).flip(1) + 1).sqrt()),
    "constant": (_constant, lambda x: (x + x * 2) * (1 + _STEPS)),
    "parts": (_parts, lambda x: torch.cat([x[:, 1:], x.mean(1, keepdim=True)], 1)),
    "loop": (_loop, _loop_apart),
    "several": (_largest, lambda x: x.topk(8, 1)[0]),
    "shape in place": (lambda x: x.mul(2).unsqueeze_(1).flip(2).squeeze_(1), lambda x: x.mul(2).flip(1)),
}


@pytest.mark.parametrize("name", _CASES)
def test_where_a_result_is_written_does_not_change_the_map(name: str) -> None:
    written, returned = (Between(function).requires_grad_(False) for function in _CASES[name])
    torch.testing.assert_close(written(images()), returned(images()))
    alike(LRP(written).attribute(images(), 1), LRP(returned).attribute(images(), 1))
