"""How an attribution map is laid over its image: as in the paper's figures, or so that the image can be seen."""

import matplotlib
import numpy as np
import numpy.typing as npt

from relsplit.errors import InputError
from relsplit.pictures.signed import real_array
from relsplit.spelling import did_you_mean

Array = npt.NDArray[np.floating]


def normalise(attribution: Array, outlier_percent: float = 2.0) -> Array:
    """Positive part of a map, scaled to [0, 1] with outliers clipped.

    The released code takes captum's rule: the clipping threshold is the value at which the sorted positive part,
    summed up from below, reaches ``100 - outlier_percent`` percent of its total (not a percentile of the pixels).

    Args:
        attribution: (H, W).
        outlier_percent: share of the total attribution that counts as outliers, in [0, 100).
    """
    values = real_array(attribution, "attribution", ("H", "W"))
    positive = np.maximum(values, 0.0)
    ordered = np.sort(positive, axis=None)
    summed = np.cumsum(ordered)
    if summed[-1] <= 0:
        return positive
    threshold = ordered[np.searchsorted(summed, summed[-1] * (1 - outlier_percent / 100))]
    clipped: Array = np.minimum(positive / threshold, 1.0)
    return clipped


def overlay(
    image: npt.NDArray[np.uint8],
    attribution: Array,
    cmap: str = "jet",
    alpha: float = 0.4,
    outlier_percent: float = 2.0,
) -> Array:
    """The image with the normalised map blended over it, as in the paper: the same opacity everywhere.

    Args:
        image: (H, W, 3) uint8.
        attribution: (H, W).
        cmap: matplotlib's colour map; the paper's is jet, "viridis" or "inferno" are perceptually uniform.
        alpha: opacity of the map, in [0, 1].
        outlier_percent: see :func:`normalise`.

    Returns:
        (H, W, 3) in [0, 1]. What is negative is not shown, as in the paper; :func:`light_overlay` shows it.

    Raises:
        InputError: another shape or type, a value that is NaN or infinite, or an unknown colour map.
    """
    return _blended(image, normalise(attribution, outlier_percent), alpha, cmap)


def light_overlay(image: npt.NDArray[np.uint8], attribution: Array) -> Array:
    """The image under its map, which is the more opaque the more relevant: where nothing is, the image is as it was.

    Args:
        image: (H, W, 3) uint8.
        attribution: (H, W). Where it holds negative values, what is positive is red and what is negative is blue, both
            on one scale.

    Returns:
        (H, W, 3) in [0, 1].

    Raises:
        InputError: another shape or type, or a value that is NaN or infinite.
    """
    attribution = real_array(attribution, "attribution", ("H", "W"))
    strength = normalise(np.abs(attribution))
    if attribution.min() >= 0:
        return _blended(image, strength, _MOST * strength[..., None], "plasma")
    two_sided = (1 + np.sign(attribution) * strength) / 2
    return _blended(image, two_sided, _MOST * strength[..., None], "bwr")


_MOST = 0.8
"""Opacity of the most relevant pixels."""


def _blended(image: npt.NDArray[np.uint8], normalised: Array, alpha: "float | Array", cmap: str) -> Array:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape != (*normalised.shape, 3):
        raise InputError(
            f"image: expected (H, W, 3) uint8 of the map's size {normalised.shape}, not {image.shape} {image.dtype}"
        )
    if cmap not in matplotlib.colormaps:
        raise InputError(f"cmap={cmap}: matplotlib has no such colour map{did_you_mean(cmap, matplotlib.colormaps)}")
    colours: Array = matplotlib.colormaps[cmap](normalised)[..., :3]
    blended: Array = (1 - alpha) * image.astype(np.float64) / 255 + alpha * colours
    return blended.clip(0, 1)  # rounding may leave the range, of which matplotlib speaks
