"""What does not fit together is one line that says what was given or what the network returned."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.explainers import (
    RISE,
    AbsLRP,
    DeepLift,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LRPEpsilon,
    ScoreCAM,
)
from relsplit.targets import Detection, Key, Likeness, NextToken, Pixels, Value, Weighted

METHODS: dict[str, Any] = {
    "LRP": LRP,
    "InputXGradient": InputXGradient,
    "IntegratedGradients": lambda model: IntegratedGradients(model, steps=2),
    "RISE": lambda model: RISE(model, samples=2),
    "GradCAM": GradCAM,
    "ScoreCAM": ScoreCAM,
    "DeepLift": DeepLift,
    "AbsLRP": lambda model: AbsLRP(model, contrastive=False),
    "LRPEpsilon": LRPEpsilon,
}
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Scores(nn.Module):
    """Scores of classes, (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.conv(x)).mean((2, 3)))


class Dense(nn.Module):
    """Scores at every place, (N, 4, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.conv(x)))


class Nothing(nn.Module):
    """A detector that finds no box."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Any:
        return [{"scores": image.flatten()[:0], "boxes": image.new_zeros(0, 4)} for image in self.act(self.conv(x))]


class WithTable(Scores):
    """An image and a table."""

    def forward(self, x: Tensor, table: "Tensor | None" = None) -> Tensor:
        return super().forward(x) if table is None else super().forward(x) * table


@pytest.mark.parametrize("name", METHODS)
def test_one_line(name: str) -> None:
    of_scores, of_places = "the network returned a tensor (2, 4)", "the network returned a tensor (2, 4, 8, 8)"
    wrong: list[tuple[type[nn.Module], Any, Any, dict[str, Any], str]] = [
        (Scores, IMAGES, Pixels(1), {}, of_scores),
        (Scores, IMAGES, Value(9), {}, of_scores),
        (Scores, IMAGES, Value(), {}, of_scores),
        (Scores, IMAGES, NextToken(), {}, of_scores),
        (Scores, IMAGES, Likeness(torch.ones(5)), {}, of_scores),
        (Scores, IMAGES, Weighted({9: 1.0}), {}, of_scores),
        (Scores, IMAGES, Detection(), {}, "but the network returned a tensor ("),  # of images and baselines, or of one
        (Scores, IMAGES, Key("logits", 0), {}, "the model returns one tensor, so there is no part 'logits'"),
        (Dense, IMAGES, Value(1), {}, of_places),
        (Dense, IMAGES, 1, {}, "not a tensor (2, 4, 8, 8)"),
        (Dense, IMAGES, Pixels(1, mask=torch.ones(5, 5).bool()), {}, of_places),
        (Dense, IMAGES, Pixels(1, mask=torch.zeros(8, 8).bool()), {}, "has no place in sample 0"),
        (Nothing, IMAGES, Detection(), {}, "the network returned 0 boxes for image 0"),
        (WithTable, (IMAGES, torch.ones(3, 4)), 1, {}, "the first dimension of all is the batch"),
        (WithTable, IMAGES, 1, {"table": torch.ones(3, 4)}, "the model does not accept shape (2, 3, 8, 8)"),
        (Scores, IMAGES, 1, {"unknown": 1}, "the model does not accept shape (2, 3, 8, 8)"),
        (Scores, IMAGES[0], 1, {}, "the model does not accept shape (3, 8, 8)"),
    ]
    for kind, given, target, further, words in wrong:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = kind().eval()
        with pytest.raises(InputError) as error:
            METHODS[name](model).attribute(given, target, **({"forward_kwargs": further} if further else {}))
        assert words in str(error.value), (kind, target, str(error.value))
        assert "\n" not in str(error.value)
