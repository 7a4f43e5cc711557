"""A box that a detector found."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.targets.numbers import check_index
from relsplit.targets.target import mismatch

FOUND = 0.5
"""How much of their union two boxes have in common, at least, to count as the same."""


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

    Raises:
        InputError: no whole number, or one below 0.
    """

    box: int = 0

    def __post_init__(self) -> None:
        check_index("box of Detection", self.box)

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

    def followed(self, output: Any) -> "FollowedBoxes":
        """Return the box of each image, to be found again where the network has looked at another input.

        Raises:
            InputError: as :meth:`part`; or the boxes have no places and labels.
        """
        self.part(output)
        if not all(isinstance(image.get(name), Tensor) for image in output for name in ("boxes", "labels")):
            raise mismatch(self, 'boxes that can be followed, with "boxes", "labels" and "scores"', output)
        boxes, labels = (torch.stack([image[name][self.box] for image in output]) for name in ("boxes", "labels"))
        return FollowedBoxes(boxes, labels)

    def __call__(self, scores: Tensor) -> Tensor:
        """Return the relevance of the scores: themselves."""
        return scores


@dataclass(frozen=True)
class FollowedBoxes:
    """Boxes that were found, one for each sample.

    Attributes:
        boxes: (N, 4), left, top, right, bottom.
        labels: (N,).
    """

    boxes: Tensor
    labels: Tensor

    def score(self, image: Any, sample: int) -> Tensor:
        """Return the score that a sample's box has in another image of it, ().

        It is that of the box of the same label which overlaps it most, if they have at least half of their union in
        common (as a box counts as found in PASCAL VOC); 0 where there is none, for the detector has not found it.

        Args:
            image: what the detector returned for it.
            sample: whose box.
        """
        same = (image["labels"] == self.labels[sample]).nonzero().flatten()
        overlaps = _overlaps(image["boxes"][same], self.boxes[sample])
        scores: Tensor = image["scores"]
        if not len(same) or overlaps.max() < FOUND:
            return 0 * scores.sum()  # differentiable, as scores are
        return scores[same[overlaps.argmax()]]


def _overlaps(boxes: Tensor, box: Tensor) -> Tensor:
    """Intersection over union of boxes (B, 4) with another (4,), (B,)."""
    sides = (torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2])).clamp(min=0)
    common = sides.prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - common
    return torch.where(union > 0, common / union, 0)


def _has_scores(image: Any) -> bool:
    return isinstance(image, dict) and isinstance(image.get("scores"), Tensor)
