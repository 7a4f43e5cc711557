"""Recipe: an explainer. ``python examples/brightness_explainer.py`` evaluates it on the demo.

In the project this file is ``src/relsplit/explainers/brightness.py``. One with weights of its own takes their file as
an option called ``weights`` or ``checkpoint``: a run then belongs to what the file holds, not to its name.
"""

from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.options import Positive, checked_options


@checked_options
class Brightness:
    """Bright pixels are relevant, whatever the network says.

    Args:
        model: unused.
        power: exponent of the brightness.
    """

    forward_equivalents = 0.0

    def __init__(self, model: nn.Module, power: Positive = 1.0) -> None:
        self.power = power

    def attribute(self, images: Tensor, target: "Tensor | int | None" = None) -> Tensor:
        """Return maps (N, H, W), at least 0, of images (N, C, H, W)."""
        return checked_images(images).mean(1).abs() ** self.power


if __name__ == "__main__":
    import sys

    from command_line import run

    run("explainer=brightness", *sys.argv[1:])
