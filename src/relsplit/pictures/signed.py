"""Relevance of both signs: red speaks for what is explained, blue against it, and zero is the white between them."""

import numpy as np
import numpy.typing as npt

from relsplit.checks import real_maps
from relsplit.errors import InputError

FOR, AGAINST = "#c1121f", "#1d4ed8"
"""Colours of the greatest positive and negative relevance."""


def real_array(values: object, what: str, *shapes: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Return what was handed in as an array of finite numbers on the CPU.

    Args:
        values: a tensor, wherever it lies, or an array.
        what: how it is called in the error.
        shapes: that are allowed, by the names of their dimensions.

    Raises:
        InputError: neither a tensor nor an array, another rank, empty, or a value that is NaN or infinite.
    """
    found = real_maps(values, what.removesuffix("s")).detach().cpu().double().numpy()  # type: ignore[arg-type]
    if found.ndim not in map(len, shapes) or not found.size:
        expected = " or ".join(f"({', '.join(shape)}{',' if len(shape) == 1 else ''})" for shape in shapes)
        advice = "" if 0 in found.shape else ": hand in one sample alone"
        raise InputError(f"{what}: expected {expected}, none of them 0, not {found.shape}{advice}")
    if not np.isfinite(found).all():
        raise InputError(f"{what}: it holds NaN or infinity: check the input and the weights")
    array: npt.NDArray[np.float64] = found
    return array


def check_same_shape(relevance: npt.NDArray[np.float64], values: npt.NDArray[np.float64], what: str) -> None:
    """Check that relevance is of what it is drawn with.

    Raises:
        InputError: it has another shape.
    """
    if relevance.shape != values.shape:
        raise InputError(f"relevance: expected the shape of the {what}, {values.shape}, not {relevance.shape}")


def scaled(relevance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return relevance of any shape divided by its greatest magnitude, in [-1, 1]; zeros stay zeros."""
    largest = np.abs(relevance).max()
    return relevance / largest if largest else relevance


def tint(share: float) -> tuple[int, int, int]:
    """Return the colour of relevance, (red, green, blue) from 0 to 255, light enough for black letters.

    Args:
        share: of the greatest magnitude, in [-1, 1].
    """
    full = FOR if share > 0 else AGAINST
    strength = 0.65 * abs(share)
    red, green, blue = (round(255 - strength * (255 - int(full[at : at + 2], 16))) for at in (1, 3, 5))
    return red, green, blue
