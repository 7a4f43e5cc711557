"""Recipe: an explainer. ``python examples/brightness_explainer.py`` evaluates it on the demo.

In the project this file is ``src/relsplit/explainers/brightness.py``. One with weights of its own takes their file as
an option called ``weights`` or ``checkpoint``: a run then belongs to what the file holds, not to its name.
"""

import sys

from torch import Tensor, nn

from command_line import run
from relsplit.checks import checked_images, number


class Brightness:
    """Bright pixels are relevant, whatever the network says.

    Args:
        model: unused.
        power: exponent of the brightness.
    """

    forward_equivalents = 0.0

    def __init__(self, model: nn.Module, power: float = 1.0) -> None:
        self.power = number("power", power, above=0)

    def attribute(self, images: Tensor, target: "Tensor | int | None" = None) -> Tensor:
        """Return maps (N, H, W), at least 0, of images (N, C, H, W)."""
        return checked_images(images).mean(1).abs() ** self.power


if __name__ == "__main__":
    run("explainer=brightness", *sys.argv[1:])
