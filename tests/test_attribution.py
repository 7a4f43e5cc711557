"""Heat quantization and the map that is scored."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from relsplit import heat_quantization
from relsplit.attribution import AttributionMap
from relsplit.errors import InputError

LINE = torch.arange(15.0).reshape(1, 3, 5)  # 0..14


def test_linspace_has_seven_bins_and_the_maximum_alone() -> None:
    # linspace(0, 14, 8) = 0, 2, ..., 14
    expected = torch.tensor([0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14.0]).reshape(1, 3, 5)
    assert torch.equal(heat_quantization(LINE, levels=8, style="linspace"), expected)


def test_floor_has_eight_bins_and_the_maximum_alone() -> None:
    maps = torch.arange(17.0).reshape(1, 1, 17)
    expected = torch.tensor([0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14, 16.0]).reshape(1, 1, 17)
    assert torch.equal(heat_quantization(maps, levels=8, style="floor"), expected)


def test_every_map_has_its_own_scale_and_a_constant_one_stays() -> None:
    maps = torch.cat([LINE, LINE * -100 + 3, torch.full_like(LINE, 0.7)])
    together = heat_quantization(maps)
    assert torch.equal(together, torch.cat([heat_quantization(m[None]) for m in maps]))
    assert torch.equal(together[2], maps[2])


def reference(values: np.ndarray, levels: int, style: str) -> np.ndarray:
    """The definitions, pixel by pixel: numpy's linspace as released, and paper Eq. 8 without its last factor."""
    low, high = values.min(), values.max()
    if style == "linspace":
        edges = np.linspace(low, high, levels)
        return np.array([edges[edges <= value].max() for value in values])
    return low + np.floor((values - low) / ((high - low) / levels)) * ((high - low) / levels)


@pytest.mark.parametrize("style", ["linspace", "floor"])
@pytest.mark.parametrize("levels", [2, 3, 8, 17])
def test_agrees_with_the_definition(style: str, levels: int) -> None:
    maps = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(levels), dtype=torch.float64)
    found = heat_quantization(maps, levels, style)
    for one, quantised in zip(maps, found, strict=True):
        expected = reference(one.flatten().numpy(), levels, style).reshape(12, 12)
        np.testing.assert_allclose(quantised.numpy(), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=30),
    st.integers(2, 20),
    st.sampled_from(["linspace", "floor"]),
)
def test_lowers_keeps_order_and_is_idempotent(values: list[float], levels: int, style: str) -> None:
    maps = torch.tensor(values, dtype=torch.float32).reshape(1, 1, -1)
    found = heat_quantization(maps, levels, style)
    assert (found <= maps).all()
    assert found.min() == maps.min()
    assert found.max() == maps.max()
    assert len(found.unique()) <= levels + (style == "floor")
    in_order = found.flatten()[maps.flatten().argsort(stable=True)]
    assert (in_order[1:] >= in_order[:-1]).all()
    assert torch.equal(heat_quantization(found, levels, style), found)


@pytest.mark.parametrize(
    ("maps", "options", "said"),
    [
        (torch.tensor([[[0.0, float("nan")]]]), {}, "NaN"),
        (torch.tensor([[[0.0, float("inf")]]]), {}, "infinity"),
        (torch.zeros(3, 3), {}, "shape"),
        (torch.zeros(0, 3, 3), {}, "shape"),
        (LINE, {"style": "round"}, "linspace, floor"),
        (LINE, {"levels": 1}, "at least 2"),
        (LINE, {"levels": 8.0}, "whole number"),
    ],
)
def test_quantization_refuses(maps: Tensor, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        heat_quantization(maps, **options)


def test_channel_reductions_and_signs_by_hand() -> None:
    attribution = torch.tensor([1.0, -3.0, 1.0]).reshape(1, 3, 1, 1)
    expected = {"sum": -1, "abs_sum": 5, "max_abs": 3, "first": 1}
    for reduction, value in expected.items():
        assert AttributionMap(channel_reduction=reduction)(attribution, (1, 1)).item() == value
    for sign, value in {"all": -1, "positive": 0, "absolute": 1}.items():
        assert AttributionMap(sign=sign)(attribution, (1, 1)).item() == value


def test_upsampling_comes_before_quantization() -> None:
    coarse = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    bilinear = torch.nn.functional.interpolate(coarse[None], size=(8, 8), mode="bilinear")[0]
    smooth = AttributionMap(upsampling="bilinear")(coarse, (8, 8))
    assert torch.equal(smooth, bilinear)
    quantised = AttributionMap(heat_quantization="linspace")(coarse, (8, 8))
    assert torch.equal(quantised, heat_quantization(smooth))
    assert len(quantised.unique()) == 8
    nearest = AttributionMap(upsampling="nearest")(coarse, (4, 4))
    assert torch.equal(nearest[0], coarse[0].repeat_interleave(2, 0).repeat_interleave(2, 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channel_reduction": "mean"}, "channel_reduction must be one of sum"),
        ({"sign": "negative"}, "sign must be one of"),
        ({"upsampling": "lanczos"}, "upsampling must be one of"),
        ({"num_levels": 0}, "at least 2"),
        ({"heat_quantization": "ceil"}, "linspace, floor"),
        ({"heat_quantization": {"levels": 8}}, "linspace, floor"),
    ],
)
def test_map_refuses_unknown_options_when_it_is_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AttributionMap(**options)


def test_map_refuses_broken_attributions() -> None:
    with pytest.raises(InputError, match=r"map 1 of the batch"):
        AttributionMap()(torch.tensor([0.0, float("nan")]).reshape(2, 1, 1, 1), (1, 1))
    with pytest.raises(InputError, match=r"\(N, H, W\)"):
        AttributionMap()(torch.zeros(2, 2), (2, 2))
