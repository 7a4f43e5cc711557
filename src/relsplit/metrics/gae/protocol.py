"""The two ways of computing GAE: the released code's, and one without its defects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Name = Literal["strict", "released"]
IMAGES = 4
"""Of a mosaic."""
STATES = 10
"""Of an image that is masked step by step; the first is the image itself."""


@dataclass(frozen=True)
class Protocol:
    """What the protocols differ in, as read in the released code (``gae/gae.py``, version of November 2024).

    Attributes:
        pixelwise: pixels are masked, and maps have their channels summed (strict); or the entries of every channel by
            themselves, and a map of one channel counts once for every channel of the image (released).
        cumulative: state t has t tenths of the image masked in both orders (strict); or the t tenths that rank first in
            the already masked image are masked on top, which empties the image after four steps when the most relevant
            entries go first, and goes in tenths when they go last (released).
        probabilities: the drop of the output is that of the probability (strict) or of the logit, which may be near
            zero or negative (released).
        cross: width in pixels of the centre that counts as the positive's: the whole cross between the quadrants
            (strict), or the four central pixels alone (released).
        predicted: contrastiveness compares the predicted classes, in [-1, 1] (strict), or the labels, without bounds
            (released).
        interleaved: mosaic m of M shows the images m, m + M, m + 2M, m + 3M, but its candidates are the images 4m to
            4m + 3 (released): right for four images at once only.
    """

    pixelwise: bool
    cumulative: bool
    probabilities: bool
    cross: Literal["whole", "centre"]
    predicted: bool
    interleaved: bool

    def shown(self, count: int) -> list[list[int]]:
        """Return the images that each mosaic shows, by quadrant, of ``count`` images, a multiple of four."""
        mosaics = count // IMAGES
        if self.interleaved:
            return [[m + k * mosaics for k in range(IMAGES)] for m in range(mosaics)]
        return self.candidates(count)

    def candidates(self, count: int) -> list[list[int]]:
        """Return the images that each mosaic's positive is drawn from."""
        return [list(range(start, start + IMAGES)) for start in range(0, count, IMAGES)]

    def reference(self, values: Sequence[float], *places: int) -> Tensor:
        """Return S (H, W): the value of each quadrant's image, and 1 where the quadrants meet.

        Of signals (L,): of each quarter; the centre is where the second meets the third. Of volumes as of a slice.
        """
        if len(places) == 1:
            return self._reference_of_signals(values, places[0])
        height, width = places[-2:]
        middle, centre = height // 2, width // 2
        s = torch.empty(height, width, dtype=torch.float64)
        s[:middle, :centre], s[:middle, centre:], s[middle:, :centre], s[middle:, centre:] = values
        if self.cross == "whole":
            s[middle - 1 : middle + 1, :] = 1
            s[:, centre - 1 : centre + 1] = 1
        else:
            s[middle - 1 : middle + 1, centre - 1 : centre + 1] = 1
        return s

    def _reference_of_signals(self, values: Sequence[float], length: int) -> Tensor:
        s = torch.tensor(values, dtype=torch.float64).repeat_interleave(length // IMAGES)
        for joint in (1, 2, 3) if self.cross == "whole" else (2,):
            s[joint * length // IMAGES - 1 : joint * length // IMAGES + 1] = 1
        return s


PROTOCOLS: dict[str, Protocol] = {
    "strict": Protocol(True, True, True, "whole", True, False),
    "released": Protocol(False, False, False, "centre", False, True),
}
