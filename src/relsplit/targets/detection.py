"""A box that a detector found."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.targets.target import mismatch


@dataclass(frozen=True, eq=False)
class Detection:
    """The score of the k-th box of each image, as torchvision's detectors return them: dictionaries with "scores".

    Examples:
        >>> import torch
        >>> from torchvision.models.detection import ssdlite320_mobilenet_v3_large as ssd
        >>> from relsplit import LRP
        >>> from relsplit.targets import Detection
        >>> model = ssd(weights=None, weights_backbone=None, num_classes=3, score_thresh=0).eval()
        >>> tuple(LRP(model).attribute(torch.rand(1, 3, 320, 320), Detection(0)).shape)
        (1, 3, 320, 320)

    Args:
        box: its place in the list, 0 for the first, which has the highest score.
    """

    box: int = 0

    def part(self, output: Any) -> Tensor:
        """Return the scores of the boxes, (N,).

        Raises:
            InputError: the network is no detector, or found fewer boxes.
        """
        if not isinstance(output, (list, tuple)) or not output or not all(_has_scores(image) for image in output):
            raise mismatch(self, 'boxes, a list of one dictionary with "scores" for each image', output)
        for number, image in enumerate(output):
            if not 0 <= self.box < len(image["scores"]):
                raise InputError(
                    f"target: {self!r}: the network returned {len(image['scores'])} boxes for image {number}: name "
                    "another box, lower the detector's score threshold, or leave the image out"
                )
        return torch.stack([image["scores"][self.box] for image in output])

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the relevance of the scores: themselves."""
        return scores


def _has_scores(image: Any) -> bool:
    return isinstance(image, dict) and isinstance(image.get("scores"), Tensor)
