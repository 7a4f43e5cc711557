"""C1C: of a map, only the first contour and the first component, as the C1-LRP poster keeps them (Iida et al., 2023).

The released code of Otsuki et al. (ECCV 2024) has its component half as an option. SciPy, which finds components, is
imported when a map is made.
"""

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from relsplit.attribution import is_flat
from relsplit.errors import InputError
from relsplit.options import Count, Limits, checked_options

Mask = npt.NDArray[np.bool_]


@checked_options
class C1C:
    """Keep the most noteworthy region of a map and set everything else to 0.

    The map is brought to a small working size, binarised by a threshold (strictly above it is foreground), and its
    first component (8-connected) is kept. What the poster and the released code leave open is decided like this:

    - A constant map has no foreground and is kept whole, as in the released code.
    - Where the threshold is negative, kept values could rank below the zeros around them; the map is then shifted so
      that the threshold is 0. The order of the kept values does not change.
    - The released code multiplies kept values by 3, which no rank can see; that is left out.
    - "First" is the component that holds the map's maximum (released code), or the one of the largest area.
    - The first contour is the outline around the map's maximum, filled. Anded with the foreground it holds the first
      component whenever both hold the maximum, so that the poster's AND then adds nothing. Where the two do not meet
      (``component="area"``) the component alone is kept, never nothing.

    Args:
        size: side of the working size in pixels, 28 in the released code; reached as ``skimage.transform.resize`` does
            (Gaussian against aliasing, then bilinear). None: the map's own size.
        threshold: ``"mean"`` of the map at working size (released code), or a share of the way from its minimum to its
            maximum, in [0, 1); from 1 on nothing would be kept.
        component: which one is first, ``"max"`` or ``"area"`` (of equally large ones the first, row by row).
        contour: ``"none"`` (released code) or ``"external"`` (poster: what lies in both the first contour and the first
            component).

    Raises:
        InputError: an option has another value.
    """

    def __init__(
        self,
        size: Count | None = 28,
        threshold: Literal["mean"] | Annotated[float, Limits(minimum=0, below=1)] = "mean",
        component: Literal["max", "area"] = "max",
        contour: Literal["none", "external"] = "none",
    ) -> None:
        self.size = size
        self.threshold = threshold
        self.component = component
        self.contour = contour

    def __call__(self, maps: Tensor) -> Tensor:
        """Return maps (N, size, size), 0 outside of the region, of finite maps (N, h, w).

        Raises:
            InputError: SciPy is not installed.
        """
        small = maps if self.size is None else resized(maps, self.size)
        flat = is_flat(small).tolist()
        return torch.stack([each if whole else self._region(each) for each, whole in zip(small, flat, strict=True)])

    def _region(self, values: Tensor) -> Tensor:
        low, high = values.aminmax()
        share = self.threshold
        threshold = values.mean() if isinstance(share, str) else low + share * (high - low)
        kept = self._first((values > threshold).cpu().numpy(), int(values.argmax()))
        return (values - threshold.clamp(max=0)) * torch.from_numpy(kept).to(values.device)

    def _first(self, foreground: Mask, peak: int) -> Mask:
        """Return the first component of a foreground (h, w), ``peak`` is the position of the map's maximum in it."""
        labels = components(foreground)
        areas = np.bincount(labels.ravel())
        label = labels.ravel()[peak] if self.component == "max" else 1 + int(areas[1:].argmax())
        component: Mask = labels == label
        if self.contour == "none":
            return component
        both: Mask = component & foreground & first_contour(foreground, peak)
        return both if both.any() else component


def first_contour(foreground: Mask, peak: int) -> Mask:
    """Return the outermost outline around a position, filled: (h, w).

    Args:
        foreground: (h, w).
        peak: a position of the foreground, counted row by row.
    """
    filled = components(_ndimage().binary_fill_holes(foreground))
    first: Mask = filled == filled.ravel()[peak]
    return first


def components(foreground: Mask) -> npt.NDArray[np.int32]:
    """Number the 8-connected components of a foreground (h, w) from 1 on, row by row; 0 is the background."""
    labels: npt.NDArray[np.int32] = _ndimage().label(foreground, structure=np.ones((3, 3)))[0]
    return labels


def resized(maps: Tensor, size: int) -> Tensor:
    """Bring maps (N, h, w) to (N, size, size) as ``skimage.transform.resize`` does.

    A side that shrinks is first smoothed by a Gaussian of sigma (factor - 1) / 2 pixels, cut off at 4 sigma, the map
    mirrored at its edges. A side that grows is interpolated with its edge held, not mirrored.
    """
    sigmas = [max(0.0, (side / size - 1) / 2) for side in maps.shape[-2:]]
    smooth = _ndimage().gaussian_filter(maps.double().cpu().numpy(), (0, *sigmas), mode="mirror", truncate=4)
    small = F.interpolate(torch.from_numpy(smooth)[:, None], size=(size, size), mode="bilinear")[:, 0]
    return small.to(maps)


def _ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError as error:
        raise InputError(f"map=c1c needs SciPy ({error}): pip install scipy") from error
    return ndimage
