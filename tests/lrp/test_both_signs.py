"""Positive contributions of inputs of both signs: half of what the network computed and of the magnitudes."""

import pytest
import torch
from dense_oracle import propagate
from torch import Tensor, nn

from relsplit import LRP
from relsplit.lrp.layers.both_signs import both_signs
from relsplit.lrp.layers.dense import Dense
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import WeightPart
from relsplit.lrp.rules.z_plus import ZPlus

INPUTS = 96


class Counted:
    """A layer that counts its products."""

    def __init__(self, layer: LinearLayer) -> None:
        self.weight, self.bias, self.output, self.side_by_side = (
            layer.weight, layer.bias, layer.output, layer.side_by_side,
        )  # fmt: skip
        self.spread, self.reach = layer.spread, layer.reach
        self._layer = layer
        self.sizes: list[int] = []

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        self.sizes.append(h.shape[-1])
        return self._layer.apply(h, part)

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        self.sizes.append(h.shape[-1])
        return self._layer.transpose(s, part, h)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer_of(weight: Tensor, bias: Tensor | None, h: Tensor, keeps: bool = True) -> Counted:
    layer = Dense(weight, bias)
    layer.output = nn.functional.linear(h, weight, bias) if keeps else None
    return Counted(layer)


def expected(weight: Tensor, h: Tensor, relevance: Tensor) -> Tensor:
    wide = weight.double()
    return propagate(lambda x: nn.functional.linear(x, wide), h.double(), relevance.double(), "z_plus")


def passed(layer: Counted, h: Tensor, relevance: Tensor) -> Tensor:
    return ZPlus().propagate(layer, h, relevance.clone(), nonnegative=False, support=None)


@torch.no_grad()
@pytest.mark.parametrize("has_bias", [False, True])
def test_equals_the_oracle_with_a_product_less(has_bias: bool) -> None:
    weight, h, relevance = drawn(8, INPUTS), drawn(3, INPUTS, seed=1), drawn(3, 8, seed=2).abs()
    bias = 3 * drawn(8, seed=3) if has_bias else None
    layer, without = layer_of(weight, bias, h), layer_of(weight, bias, h, keeps=False)
    oracle = expected(weight, h, relevance)
    torch.testing.assert_close(passed(layer, h, relevance).double(), oracle, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(passed(without, h, relevance).double(), oracle, rtol=1e-5, atol=1e-6)
    assert sum(layer.sizes) == 3 * INPUTS
    assert sum(without.sizes) == 4 * INPUTS  # the two signs side by side, there and back


@torch.no_grad()
@pytest.mark.parametrize("share", [None, 1e-6, 1e-3, 0.04])
def test_what_nearly_cancels_is_computed_by_the_signs(share: float | None) -> None:
    """A unit whose positive contributions are a small share of the others would have the rounding of both."""
    weight, h = drawn(8, INPUTS), drawn(1, INPUTS, seed=1)
    weight[3] = -weight[3].abs() * h[0].sign()
    if share is not None:
        weight[3, :5] *= -share
    relevance = torch.ones(1, 8)
    found = passed(layer_of(weight, None, h), h, relevance).double()
    torch.testing.assert_close(found, expected(weight, h, relevance), rtol=1e-5, atol=1e-6)
    assert float(found.sum()) == pytest.approx(8, rel=1e-6)
    assert float(found.min()) >= 0


@torch.no_grad()
def test_a_bias_that_hides_the_rest_is_left_out_by_the_signs() -> None:
    weight, h, relevance = drawn(8, INPUTS), drawn(1, INPUTS, seed=1), torch.ones(1, 8)
    bias = torch.full((8,), 1e6)  # the sum has been rounded to a sixteenth
    found = passed(layer_of(weight, bias, h), h, relevance).double()
    torch.testing.assert_close(found, expected(weight, h, relevance), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_units_of_few_inputs_are_not_tried() -> None:
    weight, h = drawn(8, 48), drawn(3, 48, seed=1)
    layer = layer_of(weight, None, h)
    both_signs(layer, h)
    assert layer.sizes == []


def test_negative_relevance_of_relevant_rows_alone() -> None:
    """Through LRP, beside a class token and with contrasts: the oracle's, row by row."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(INPUTS, 70), nn.GELU(), nn.Linear(70, 4)).eval()
    x = drawn(2, 5, INPUTS, seed=4)

    def start(output: Tensor) -> Tensor:
        relevance = torch.zeros_like(output)
        relevance[:, 1, 2], relevance[:, 1, 0], relevance[0, 4, 3] = 1.0, -0.5, 2.0
        return relevance

    found = LRP(network, input_rule="activation").attribute(x, start)
    with torch.no_grad():
        wide = network.double()
        z = wide[0](x.double())
        hidden = wide[1](z)
        relevance = start(wide[2](hidden)).flatten(0, 1)
        relevance = propagate(wide[2], hidden.flatten(0, 1), relevance, "z_plus")
        oracle = propagate(wide[0], x.double().flatten(0, 1), relevance, "z_plus").reshape(x.shape)
    torch.testing.assert_close(found.double(), oracle, rtol=1e-4, atol=1e-6)
    assert not found[1, 4].any()
    assert not found[:, 0].any()
