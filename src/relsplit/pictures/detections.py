"""Boxes that a detector found, and the map of one of them."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from relsplit.errors import InputError
from relsplit.pictures.overlays import light_overlay
from relsplit.pictures.plain_text import plain
from relsplit.pictures.signed import real_array

EXPLAINED, OTHER = "#ffb000", "white"
"""Colours of the box whose map is shown, and of the others."""


def boxes(
    image: npt.NDArray[np.uint8],
    relevance: "Tensor | npt.NDArray[np.floating]",
    corners: "Tensor | npt.NDArray[np.floating]",
    explained: int = 0,
    labels: "Sequence[str] | None" = None,
) -> Figure:
    """Draw an image with its boxes, and beside it the image under the map of one box, which is the coloured one.

    Args:
        image: (H, W, 3) uint8.
        relevance: (H, W), of the score of the explained box: ``LRP(detector).attribute(images, Detection(0))``, summed
            over channels.
        corners: (K, 4) in pixels, (left, top, right, bottom), as torchvision's detectors return them under "boxes".
        explained: whose map it is, 0 for the first box.
        labels: a few words for each box, such as "bird 0.97"; None: none.

    Returns:
        A figure of matplotlib's with two axes.

    Raises:
        InputError: another shape or type, a value that is NaN or infinite, no such box, or labels for other boxes.

    Examples:
        >>> import numpy as np
        >>> image, relevance = np.zeros((32, 48, 3), np.uint8), np.random.rand(32, 48)
        >>> figure = boxes(image, relevance, np.array([[4, 4, 20, 20], [25, 8, 40, 30]]), explained=1)
        >>> figure.axes[1].get_title()
        'relevance of box 1'
    """
    shares = real_array(relevance, "relevance", ("H", "W"))
    places = real_array(corners, "corners", ("K", "4"))
    if places.shape[1] != 4:
        raise InputError(f"corners: expected (K, 4), left, top, right, bottom in pixels, not {places.shape}")
    if isinstance(explained, bool) or not isinstance(explained, Integral):
        raise InputError(f"explained: expected the number of a box, 0 for the first, not {explained!r}")
    if not 0 <= explained < len(places):
        raise InputError(f"explained: there are {len(places)} boxes, 0 to {len(places) - 1}, and no {explained}")
    if labels is not None and (isinstance(labels, str) or not all(isinstance(each, str) for each in labels)):
        raise InputError(f"labels: expected a list of texts, one for each box, not {labels!r}")
    if labels is not None and len(labels) != len(places):
        raise InputError(f"labels: expected one for each of {len(places)} boxes, not {len(labels)}")
    laid = light_overlay(image, shares)
    height, width = shares.shape
    figure = Figure(figsize=(7, 3.4 * height / width + 0.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image)
    right.imshow(laid)
    for number, corner in enumerate(places):
        if number != explained:
            _draw_box(left, corner, OTHER, 1.2, None if labels is None else labels[number])
    for axes in (left, right):
        _draw_box(axes, places[explained], EXPLAINED, 2.2, None if labels is None else labels[explained])
        axes.set_axis_off()
    name = f"box {explained}" if labels is None else plain(labels[explained])
    left.set_title("found", fontsize=10)
    right.set_title(f"relevance of {name}", fontsize=10)
    return figure


def _draw_box(axes: Axes, corner: npt.NDArray[np.float64], colour: str, width: float, label: "str | None") -> None:
    left, top, right, bottom = (float(value) for value in corner)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width))
    if label is not None:
        axes.text(
            left, top, plain(label), fontsize=8, color="black", va="bottom", clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
