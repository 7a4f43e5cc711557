"""Complex numbers have no relevance: they are refused, and never taken for constants."""

from collections.abc import Callable

import pytest
import torch
from between import Between
from plain_networks import images
from torch import Tensor

from relsplit import LRP
from relsplit.errors import UnsupportedModelError


def _filtered(x: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(x) * (0.5 + 0.1j), s=x.shape[2:])


@pytest.mark.parametrize(
    "function",
    [
        _filtered,
        lambda x: (x * 1j).abs(),
        lambda x: (x / 1j).abs(),
        lambda x: torch.fft.rfft2(x).mean(1, keepdim=True).abs().mean((2, 3), keepdim=True),
        lambda x: torch.complex(x, x).flip(1).abs(),
        lambda x: torch.view_as_real(torch.complex(x, x) * 1j)[..., 0],
    ],
    ids=["filter", "product", "quotient", "mean", "flip", "parts"],
)
def test_a_branch_of_complex_numbers_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedModelError, match="has no relevance rule") as raised:
        LRP(Between(lambda x: x + function(x))).attribute(images(), 1)
    assert "\n" not in str(raised.value)


def test_complex_numbers_that_no_relevance_reaches_are_no_hindrance() -> None:
    network = Between(lambda x: x * torch.fft.rfft2(x).abs().mean((1, 2, 3), keepdim=True).sigmoid())
    relevance, sums = LRP(network).attribute(images(), 1, return_sums=True)
    torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"])
