"""A detector of which it is known what it sees where, and how sure it is."""

import torch
from torch import Tensor, nn


class Halves(nn.Module):
    """Finds the left and the right half of images 8 x 8, as sure of each as it is bright, and nothing darker than 0.2.

    The right half's box moves to the top where it is darker than 0.4. With ``frame`` there is a box of something else
    where the left half is, which it is surest of.
    """

    def __init__(self, frame: bool = False) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        return [self.found(image) for image in images]

    def found(self, image: Tensor) -> dict[str, Tensor]:
        left, right = image[:, :, :4].mean(), image[:, :, 4:].mean()
        boxes = [[0.0, 0, 4, 8], [4.0, 0, 8, 8] if right > 0.4 else [4.0, 0, 8, 3], [0.0, 0, 4, 8]]
        scores, labels = torch.stack([left, right, image.new_tensor(2.0)]), torch.tensor([1, 1, 2], device=image.device)
        order = [place for place in scores.argsort(descending=True).tolist() if place < 2 + self.frame]
        order = [place for place in order if scores[place] >= 0.2]
        return {"boxes": image.new_tensor(boxes)[order].view(-1, 4), "labels": labels[order], "scores": scores[order]}
