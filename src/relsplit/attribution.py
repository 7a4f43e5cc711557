"""From a raw attribution to the map that is scored: channel reduction, sign, upsampling, heat quantization."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.checks import finite_maps, real_maps
from relsplit.errors import InputError
from relsplit.options import Limits, checked_options

CHANNEL_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda attribution: attribution.sum(dim=1),
    "abs_sum": lambda attribution: attribution.abs().sum(dim=1),
    "max_abs": lambda attribution: attribution.abs().amax(dim=1),
    "first": lambda attribution: attribution[:, 0],
}
SIGNS: dict[str, Callable[[Tensor], Tensor]] = {
    "all": lambda maps: maps,
    "positive": lambda maps: maps.clamp(min=0),
    "absolute": lambda maps: maps.abs(),
}
# Number of lower edges that ``levels`` stands for. Both styles put equally wide bins between minimum and maximum and
# the maximum alone on top; they differ in how many bins "8 levels" are.
EDGES: dict[str, Callable[[int], int]] = {
    "linspace": lambda levels: levels,  # released code: linspace(min, max, 8), seven bins and the maximum
    "floor": lambda levels: levels + 1,  # paper Eq. 8: eight bins and the maximum
}


Style = Literal["linspace", "floor"]
Levels = Annotated[int, Limits(minimum=2, maximum=65_536)]


@checked_options
def heat_quantization(maps: Tensor, levels: Levels = 8, style: Style = "linspace") -> Tensor:
    """Lower every pixel to the lower edge of its bin (Heat Quantization, paper Eq. 8), each map on its own scale.

    Args:
        maps: (N, H, W), any real values.
        levels: Q in the paper, at least 2.
        style: ``"linspace"`` is the released code's ``linspace(min, max, levels)``: levels - 1 bins plus the maximum
            alone; ``"floor"`` is Eq. 8: levels bins plus the maximum alone.

    Returns:
        (N, H, W) in the units of ``maps``, never above them; a constant map stays as it is. Applying it again changes
        nothing.

    Raises:
        InputError: no tensor, wrong shape, a value that is NaN or infinite, an unknown style, fewer than 2 levels.
    """
    found = _finite(maps)
    values = found.flatten(1).contiguous()
    low, high = (edge.double()[:, None] for edge in values.aminmax(dim=1))
    count = EDGES[style](levels)
    step = torch.arange(count, device=values.device, dtype=torch.float64) / (count - 1)
    # Interpolated from both ends: exact at the minimum and the maximum, and no overflow of high - low.
    # Edges in the maps' own precision: a pixel that lies on an edge keeps its value.
    edges = (low * (1 - step) + high * step).to(values.dtype)
    bins = torch.searchsorted(edges.contiguous(), values, right=True) - 1
    return edges.gather(1, bins.clamp(min=0)).reshape(found.shape)


@checked_options
class AttributionMap:
    """Make the scored map (N, H, W) of an explainer's attribution.

    The steps, in this order: the channels are reduced to one, the sign is chosen, a region is kept, the map is brought
    to the size of the image, the values are quantised. Every step is an option because every one of them decides
    published numbers.

    Args:
        channel_reduction: how (N, C, H, W) becomes (N, H, W): ``"sum"`` (paper, for its own method), ``"abs_sum"``,
            ``"max_abs"``, or ``"first"``: the red channel alone, which is what the released metric did to LRP-epsilon,
            Integrated Gradients and Guided BackPropagation. Without effect on (N, H, W).
        sign: ``"all"``, ``"positive"`` (negative values become 0) or ``"absolute"``.
        upsampling: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``; used when the map is not at image size. Or
            ``"first_row"``, which is for audits only: what the released metric scored of such a map was its first row
            alone, stretched over the image (as a column, top to bottom), and after quantisation.
        heat_quantization: the style of :func:`heat_quantization`, ``"linspace"`` or ``"floor"``, or None to leave the
            values as they are.
        num_levels: Q of Heat Quantization, at least 2.
        region: what is kept of the maps, (N, h, w) to (N, h', w'), such as :class:`relsplit.c1c.C1C`; None: all.

    Raises:
        InputError: an unknown value of an option.
    """

    def __init__(
        self,
        channel_reduction: Literal["sum", "abs_sum", "max_abs", "first"] = "sum",
        sign: Literal["all", "positive", "absolute"] = "all",
        upsampling: Literal["bilinear", "bicubic", "nearest", "first_row"] = "bilinear",
        heat_quantization: Style | None = None,
        num_levels: Levels = 8,
        region: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.reduce = CHANNEL_REDUCTIONS[channel_reduction]
        self.choose_sign = SIGNS[sign]
        self.upsampling = upsampling
        self.heat_quantization = heat_quantization
        self.num_levels = num_levels
        self.region = region

    def __call__(self, attribution: Tensor, size: Sequence[int]) -> Tensor:
        """Return the map (N, H, W).

        Args:
            attribution: (N, C, h, w) or (N, h, w).
            size: (H, W) of the images.

        Raises:
            InputError: no tensor, another shape, or a value that is NaN or infinite.
        """
        attribution = real_maps(attribution, "attribution map")
        if attribution.ndim not in (3, 4):
            raise InputError(f"attribution must be (N, H, W) or (N, C, H, W), not {tuple(attribution.shape)}")
        maps = _finite(self.choose_sign(self.reduce(attribution) if attribution.ndim == 4 else attribution))
        if self.region is not None:
            maps = self.region(maps)
        if self.upsampling == "first_row" and tuple(maps.shape[-2:]) != tuple(size):
            return _first_row(self._quantised(maps), size)
        return self._quantised(self._at_size(maps, size))

    def _at_size(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        if tuple(maps.shape[-2:]) == tuple(size):
            return maps
        corners = None if self.upsampling == "nearest" else False
        return F.interpolate(maps[:, None], size=tuple(size), mode=self.upsampling, align_corners=corners)[:, 0]

    def _quantised(self, maps: Tensor) -> Tensor:
        if self.heat_quantization is None:
            return maps
        return heat_quantization(maps, self.num_levels, self.heat_quantization)


def is_flat(maps: Tensor) -> Tensor:
    """Say which maps (N, H, W) are constant up to rounding: they order no pixels, so no score of theirs means anything.

    Returns:
        (N,) bool: the values differ by no more than a millionth of the largest.
    """
    values = maps.flatten(1)
    low, high = values.aminmax(dim=1)
    return high - low <= 1e-6 * values.abs().amax(dim=1)


def _first_row(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Stretch the first row of maps (N, h, w) over the image, its left end at the top."""
    column = maps[:, None, 0, :, None]
    return F.interpolate(column, size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _finite(maps: Tensor) -> Tensor:
    maps = real_maps(maps, "attribution map")
    if maps.ndim != 3 or not maps.numel():
        raise InputError(f"expected attribution maps of shape (N, H, W), none of them 0, got {tuple(maps.shape)}")
    return finite_maps(maps, "attribution map")
