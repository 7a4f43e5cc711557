"""An error that only the recording brings about is not blamed on the images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from between import Between
from plain_networks import images
from torch import Tensor

from relsplit import LRP
from relsplit.errors import InputError, UnsupportedModelError


def _keeping(x: Tensor) -> Tensor:
    x.retain_grad()
    return x


def test_a_network_that_asks_for_gradients_is_told_apart_from_images_that_do_not_fit() -> None:
    network = Between(_keeping)
    network(images())
    with pytest.raises(UnsupportedModelError, match=r"could not be recorded.*retain_grad"):
        LRP(network).attribute(images(), 1)
    with pytest.raises(InputError, match="does not accept shape"):
        LRP(network).attribute(torch.rand(2, 4, 9, 9, dtype=torch.float64), 1)


def test_a_place_that_is_no_name() -> None:
    with pytest.raises(InputError, match="at: expected the path of a module"):
        LRP(Between(lambda x: x)).attribute(images(), 1, at=3)  # type: ignore[call-overload]


@pytest.mark.parametrize("transform", [torch.vmap, torch.func.grad])
def test_a_function_transform_around_it(transform: Callable[..., Any]) -> None:
    lrp = LRP(Between(lambda x: x))
    with pytest.raises(InputError, match=r"within torch\.func or torch\.vmap"):
        transform(lambda x: lrp.attribute(x, 1).sum())(images(4).unsqueeze(0) if transform is torch.vmap else images())
