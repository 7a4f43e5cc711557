"""Max pooling of any windows: each window's relevance is shared among its own entries, by what they hold."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import UnsupportedModelError

WINDOWS: dict[str, dict[str, Any]] = {
    "overlapping": {"kernel_size": 3, "stride": 1, "padding": 1},
    "a last one that is cut off": {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "side by side": {"kernel_size": 2, "stride": 2, "ceil_mode": True},
    "dilated": {"kernel_size": 2, "dilation": 2, "padding": 1, "stride": 1},
    "dilated, the last one cut off": {"kernel_size": 2, "dilation": 2, "padding": 1, "stride": 2, "ceil_mode": True},
}


class Pooled(nn.Module):
    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)


def averaged(x: Tensor, relevance: Tensor, options: dict[str, Any]) -> Tensor:
    """Relevance of ``x`` (length,), window by window, from the definition."""
    size, stride = options["kernel_size"], options["stride"]
    padding, dilation = options.get("padding", 0), options.get("dilation", 1)
    result = torch.zeros_like(x)
    for place, part in enumerate(relevance):
        seen = [place * stride - padding + dilation * step for step in range(size)]
        seen = [entry for entry in seen if 0 <= entry < len(x)]
        result[seen] += x[seen] / x[seen].sum() * part
    return result


@pytest.mark.parametrize("length", [2, 3, 4, 7])
@pytest.mark.parametrize("name", WINDOWS)
def test_along_one_dimension(name: str, length: int) -> None:
    options, dims = WINDOWS[name], (1, 2, 3)
    row = torch.rand(length, generator=torch.Generator().manual_seed(0)).double() + 0.1
    for count in dims:
        pool = getattr(F, f"max_pool{count}d")
        others = [1] * (count - 1)
        along = {key: (*[1 if key != "padding" else 0] * (count - 1), value) for key, value in options.items()
                 if key != "ceil_mode"}  # fmt: skip
        ceil_mode = options.get("ceil_mode", False)
        model = Pooled(lambda x, pool=pool, along=along, ceil_mode=ceil_mode: pool(x, **along, ceil_mode=ceil_mode))
        x = row.reshape(1, 1, *others, length)
        start = model(x).flatten()
        found = LRP(model).attribute(x, lambda output: output)
        torch.testing.assert_close(found.flatten(), averaged(row, start, options), rtol=1e-9, atol=0)


@pytest.mark.parametrize("max_pool", ["average", "winner"])
@pytest.mark.parametrize("name", WINDOWS)
def test_nothing_is_lost_in_volumes_smaller_than_their_windows(name: str, max_pool: str) -> None:
    x = torch.rand(2, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    model = Pooled(lambda x: F.max_pool3d(x, **WINDOWS[name]).flatten(2).sum(2))
    found, sums = LRP(model, max_pool=max_pool).attribute(x, 1, return_sums=True)
    torch.testing.assert_close(found.flatten(1).sum(1), sums["output"], rtol=1e-9, atol=0)


def test_the_released_codes_windows_are_for_pools_that_halve() -> None:
    x = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    model = Pooled(lambda x: F.max_pool2d(x, 3, 1, 1).flatten(2).sum(2))
    with pytest.raises(UnsupportedModelError, match='"average_2x2" is for pools that halve their input, "average"'):
        LRP(model, max_pool="average_2x2").attribute(x)
