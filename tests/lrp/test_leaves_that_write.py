"""Leaves that write over what they are given, raise errors, or take activations in lists."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from between import Between
from plain_networks import alike, images
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError


class _InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return x.sub_(0.2)


class _Apart(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 - 0.2


def _above(function: Callable[..., Any], h: Tensor, relevance: Tensor) -> Tensor:
    return relevance * (h > 0.2)


def _with(leaf: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    network = Between(lambda x: function(leaf, x))
    network.add_module("leaf", leaf)
    return network


@pytest.mark.parametrize("rule", ["input_times_gradient", _above])
def test_a_leaf_in_place_gets_its_input_as_it_was(rule: Any) -> None:
    in_place, apart = (_with(leaf, lambda leaf, x: leaf(x)) for leaf in (_InPlace(), _Apart()))
    map_in_place = LRP(in_place, leaves={_InPlace: rule}).attribute(images(), 1)
    alike(map_in_place, LRP(apart, leaves={_Apart: rule}).attribute(images(), 1))


def test_what_a_leaf_wrote_is_its_own_wherever_it_is_read() -> None:
    def left(leaf: nn.Module, x: Tensor) -> Tensor:
        leaf(x[:, :4])
        return x

    in_place = _with(_InPlace(), left)
    apart = _with(_Apart(), lambda leaf, x: torch.cat([leaf(x[:, :4]), x[:, 4:]], 1))
    map_in_place = LRP(in_place, leaves={_InPlace: _above}).attribute(images(), 1)
    alike(map_in_place, LRP(apart, leaves={_Apart: _above}).attribute(images(), 1))


class _Joined(nn.Module):
    def forward(self, parts: list[Tensor]) -> Tensor:
        return parts[0] + parts[1].flip(1)


def test_a_leaf_that_takes_a_list_is_no_constant() -> None:
    network = _with(_Joined(), lambda leaf, x: x + leaf([x, x]))
    with pytest.raises(InputError, match="'_Joined' takes activations in a list"):
        LRP(network, leaves={_Joined: "pass"}).attribute(images(), 1)


def _refusing(x: Tensor) -> Tensor:
    if len(x) > 0:
        raise ValueError("not this one")
    return x


def test_an_error_that_the_network_catches_is_no_result_of_a_leaf() -> None:
    def tried(x: Tensor) -> Tensor:
        try:
            return _refusing(x)
        except ValueError as error:
            assert str(error) == "not this one"  # noqa: PT017 (the network catches it, the test does not)
            return x * 2

    relevance = LRP(Between(tried), leaves={_refusing: "pass"}).attribute(images(), 1)
    alike(relevance, LRP(Between(lambda x: x * 2)).attribute(images(), 1))
