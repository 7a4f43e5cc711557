"""The greater of an activation and a constant is the activation, cut off."""

from collections.abc import Callable

import pytest
import torch
from between import Between
from plain_networks import alike, images
from torch import Tensor

from relsplit import LRP

_LIMIT = torch.full((), 0.2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("by_choice", "by_clamp"),
    [
        (lambda x: torch.maximum(x, _LIMIT), lambda x: x.clamp(min=0.2)),
        (lambda x: torch.minimum(_LIMIT, x), lambda x: x.clamp(max=0.2)),
        (lambda x: torch.fmax(x.sub(0.2), torch.zeros_like(x)), lambda x: x.sub(0.2).clamp(min=0)),
    ],
)
def test_a_choice_by_a_constant_is_a_clamp(
    by_choice: Callable[[Tensor], Tensor], by_clamp: Callable[[Tensor], Tensor]
) -> None:
    relevance, sums = LRP(Between(by_choice)).attribute(images(), 1, return_sums=True)
    torch.testing.assert_close(relevance.flatten(1).sum(1), sums["output"])
    alike(relevance, LRP(Between(by_clamp)).attribute(images(), 1))
