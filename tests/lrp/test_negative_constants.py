"""Constants below zero that meet activations above: the sum may be negative, and its layer's rule has to know."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from between import Between
from plain_networks import alike, images
from torch import Tensor

from relsplit import LRP

_ROWS = (torch.arange(7) % 2 == 0)[:, None]


def _buffer(x: Tensor) -> Tensor:
    buffer = torch.full_like(x, -0.5)
    buffer[..., :4] = x[..., :4]
    return F.avg_pool2d(buffer, 3, 1)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=-0.5), 3, 1),
        lambda x: x.masked_fill(_ROWS, -0.5) + x,
        lambda x: torch.cat([x, torch.full_like(x, -0.5)], 3).mean(3, keepdim=True).expand(x.shape),
        _buffer,
    ],
    ids=["pad", "fill", "cat", "buffer"],
)
def test_a_sum_with_a_negative_constant_is_not_taken_for_positive(function: Callable[[Tensor], Tensor]) -> None:
    network = Between(function)
    # Zero added leaves every value as it is, but the sum is not known to be of one sign.
    unknown = Between(lambda x: function(x) + 0.0)
    alike(LRP(network).attribute(images(), 1), LRP(unknown).attribute(images(), 1))
