"""Curves of whatever is explained, worked out by hand: one masked input at a time, its value read off the output."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.metrics import (
    GlobalAttributionEvaluation,
    GridPointing,
    InsertionDeletion,
    flipping_area,
    global_attribution_evaluation,
    grid_pointing_game,
    imputed_survival,
    score_curves,
    subset_correlation,
)
from relsplit.metrics.insertion_deletion.protocols.levels import Levels
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
from relsplit.targets import Detection, Key, Likeness, NextToken, Pixels, Value, Weighted
from two_halves import Halves

N = 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fixed(module: nn.Module, seed: int = 1) -> nn.Module:
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=seed + number))
    return module.eval()


class Flat(nn.Module):
    """Scores (N, 4) of inputs of any shape."""

    def __init__(self, features: int, outputs: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(features, outputs, dtype=torch.float64), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.layers(x)


class Named(nn.Module):
    """A dictionary of scores of classes and of places."""

    def __init__(self) -> None:
        super().__init__()
        self.species = Flat(48)
        self.places = nn.Conv2d(3, 4, 3, padding=1, dtype=torch.float64)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"species": self.species(x), "places": self.places(x)}


class Words(nn.Module):
    """A small language model, (N, T, 9)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 5, dtype=torch.float64)
        self.head = nn.Linear(5, 9, dtype=torch.float64)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).cumsum(1).tanh())


IMAGES, SIGNALS, VOLUMES, TABLE = drawn(N, 3, 4, 4), drawn(N, 3, 6), drawn(N, 3, 2, 3, 2), drawn(N, 7)
TOKENS = torch.tensor([[1, 5, 2, 7], [3, 3, 8, 1], [6, 2, 2, 4]])
DENSE = fixed(nn.Conv2d(3, 4, 3, padding=1, dtype=torch.float64))
MASKS, WEIGHTS, VECTORS = drawn(N, 4, 4, seed=5) > 0, drawn(N, 4, seed=6), drawn(N, 4, seed=7)
FOUND = DENSE(IMAGES).argmax(1) == 1
LIKELIEST = fixed(Words())(TOKENS)[:, -1].argmax(1)
INDEX, POSITION = torch.tensor([2, 0, 3]), torch.tensor([1, 3, 2])

Read = Callable[[Any, int], Any]
"""The value by hand, of the output (1, ...) for one input, and which sample it was made of."""

CASES: dict[str, tuple[nn.Module, Tensor, Any, Read]] = {
    "a class in each image's mask": (DENSE, IMAGES, Pixels(1, MASKS), lambda o, i: o[0].softmax(0)[1][MASKS[i]].sum()),
    "a class where it was found": (DENSE, IMAGES, Pixels(1), lambda o, i: o[0].softmax(0)[1][FOUND[i]].sum()),
    "a value at a place": (DENSE, IMAGES, Pixels(2, at=(1, 3), score="value"), lambda o, i: o[0, 2, 1, 3]),
    "a regression": (fixed(Flat(48, 1)), IMAGES, Value(), lambda o, i: o[0, 0]),
    "each image's logit": (fixed(Flat(48)), IMAGES, Value(INDEX), lambda o, i: o[0, INDEX[i]]),
    "one label against another": (fixed(Flat(48)), IMAGES, Weighted({0: 1, 2: -2}), lambda o, i: o[0, 0] - 2 * o[0, 2]),
    "each image's vector": (
        fixed(Flat(48)), IMAGES, Likeness(VECTORS),
        lambda o, i: o[0] @ VECTORS[i] / (o[0].norm() * VECTORS[i].norm()),
    ),
    "a function with weights of each": (
        fixed(Flat(48)), IMAGES, lambda o: o**2 * WEIGHTS,
        lambda o, i: o[0] ** 2 @ WEIGHTS[i],
    ),
    "a class of a part": (
        fixed(Named()), IMAGES, Key("species", INDEX),
        lambda o, i: o["species"][0].softmax(0)[INDEX[i]],
    ),
    "the predicted class of a part": (
        fixed(Named()), IMAGES, Key("species"),
        lambda o, i: o["species"][0].softmax(0)[fixed(Named()).species(IMAGES)[i].argmax()],
    ),
    "places of a part": (
        fixed(Named()), IMAGES, Key("places", Pixels(0, MASKS[0])),
        lambda o, i: o["places"][0].softmax(0)[0][MASKS[0]].sum(),
    ),
    "a signal": (
        fixed(nn.Conv1d(3, 1, 3, padding=1, dtype=torch.float64)), SIGNALS, Pixels(0, at=(2,)),
        lambda o, i: o[0, 0, 2].sigmoid(),
    ),
    "a volume": (fixed(Flat(36)), VOLUMES, Value(1), lambda o, i: o[0, 1]),
    "a table": (fixed(Flat(7, 1)), TABLE, Value(), lambda o, i: o[0, 0]),
    "the next token": (fixed(Words()), TOKENS, NextToken(), lambda o, i: o[0, -1, LIKELIEST[i]]),
    "each sentence's token": (
        fixed(Words()), TOKENS, NextToken(INDEX, POSITION, score="probability"),
        lambda o, i: o[0, POSITION[i]].softmax(0)[INDEX[i]],
    ),
}  # fmt: skip


def by_hand(model: nn.Module, inputs: Tensor, maps: Tensor, read: Read) -> tuple[np.ndarray, np.ndarray]:
    """Insertion and deletion (N, P + 1), one place after another in the order of the map; 0 takes their place."""
    curves: list[list[list[float]]] = [[], []]
    for sample, (given, heat) in enumerate(zip(inputs, maps, strict=True)):
        order = heat.flatten().argsort(descending=True)
        for curve, (shown, instead) in zip(curves, ((0, given), (given, 0)), strict=True):
            now = torch.zeros_like(given) + shown
            values = []
            for place in [None, *order.tolist()]:
                if place is not None:
                    where = (..., *np.unravel_index(place, heat.shape))
                    now[where] = instead[where] if isinstance(instead, Tensor) else instead
                with torch.no_grad():
                    values.append(float(read(model(now[None]), sample)))
            curve.append(values)
    return np.array(curves[0]), np.array(curves[1])


@pytest.mark.parametrize("name", CASES)
def test_curves_are_of_the_value_itself(name: str) -> None:
    model, inputs, target, read = CASES[name]
    maps = drawn(N, *(inputs.shape[2:] if inputs.dim() > 2 else inputs.shape[1:]), seed=9)
    baseline = "zero" if inputs.is_floating_point() else 0
    insertion, deletion = by_hand(model, inputs, maps, read)
    sizes = [
        score_curves(model, inputs, maps, target, {"": Levels(baseline=baseline)}, batch_size=size)[""]
        for size in (2, 32)
    ]
    for scores in sizes:
        for sample, curve in enumerate(scores.curves):
            np.testing.assert_allclose(curve.insertion, insertion[sample], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(curve.deletion, deletion[sample], rtol=1e-9, atol=1e-12)
        areas = [np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1) for values in (insertion, deletion)]
        np.testing.assert_allclose(scores.id_score, areas[0] - areas[1], rtol=1e-9, atol=1e-12)
    metric = InsertionDeletion(model, Levels(baseline=baseline))
    metric.update(inputs, maps, target)
    assert metric.compute()["deletion"].item() == pytest.approx(areas[1].mean(), rel=1e-9, abs=1e-12)
    flipped = flipping_area(model, inputs, maps, target, steps=maps[0].numel(), baseline=baseline)
    expected = np.trapezoid(deletion[:, 1:], dx=1 / (maps[0].numel() - 1), axis=1)
    np.testing.assert_allclose(flipped, expected, rtol=1e-9, atol=1e-12)


def test_what_adds_up_to_the_value_correlates_fully_with_what_is_lost() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4, dtype=torch.float64))
    maps = (IMAGES * fixed(model)[1].weight.detach()[INDEX].view(IMAGES.shape)).sum(1)  # type: ignore[operator, union-attr]
    for sign in (1, -1):
        found = subset_correlation(model, IMAGES, sign * maps, Value(INDEX), baseline="zero")
        torch.testing.assert_close(found, torch.full((N,), float(sign), dtype=torch.float64))


def test_a_part_is_named_by_output_or_by_the_target() -> None:
    model, maps = fixed(Named()), drawn(N, 4, 4)
    for metric in (flipping_area, subset_correlation, imputed_survival):
        inner = metric(model.species, IMAGES, maps, INDEX)  # type: ignore[operator]
        assert torch.equal(metric(model, IMAGES, maps, INDEX, output="species"), inner)  # type: ignore[operator]
        assert torch.equal(metric(model, IMAGES, maps, Key("species", INDEX)), inner)  # type: ignore[operator]
        predicted = metric(model.species, IMAGES, maps, model.species(IMAGES).argmax(1))  # type: ignore[operator]
        assert torch.equal(metric(model, IMAGES, maps, None, output="species"), predicted)  # type: ignore[operator]
    scores = InsertionDeletion(model, step=3, output="species"), InsertionDeletion(model.species, step=3)  # type: ignore[arg-type]
    for metric in scores:
        metric.update(IMAGES.float().double(), maps, INDEX)
    assert scores[0].compute() == scores[1].compute()


class Pooled(nn.Module):
    """Sees an image's brightest channel, and something else."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"size": images.flatten(1).sum(1), "brightest": 9 * images.mean((2, 3))}


class Brightest(Pooled):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images)["brightest"]


def test_mosaics_are_judged_by_a_part_of_the_output() -> None:
    images = 0.1 * drawn(4, 4, 8, 8) + torch.eye(4)[:, :, None, None]
    classes = torch.arange(4)

    def explain(given: Tensor, targets: Tensor) -> Tensor:
        return given[torch.arange(len(given)), targets].abs()

    inner, by_name = Brightest(), {"output": "brightest"}
    found = grid_pointing_game(Pooled(), explain, images, classes, **by_name)  # type: ignore[arg-type]
    assert torch.equal(found, grid_pointing_game(inner, explain, images, classes))
    assert (found > 0.5).all()
    scores = global_attribution_evaluation(Pooled(), explain, images, classes, **by_name)  # type: ignore[arg-type]
    assert torch.equal(scores.faithfulness, global_attribution_evaluation(inner, explain, images, classes).faithfulness)
    game, gae = (
        GridPointing(Pooled(), explain, output="brightest"),
        GlobalAttributionEvaluation(Pooled(), explain, output="brightest"),
    )
    game.update(images, classes)
    gae.update(images, classes)
    assert game.compute()["grid_pointing"] == found.mean()
    assert gae.compute()["faithfulness"] == scores.faithfulness.mean()


class OfTwo(nn.Module):
    """Scores of an image from which another was taken away, by a factor of the sample's and one of the call's."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = fixed(Flat(48))

    def forward(self, image: Tensor, other: Tensor, zoom: Tensor, share: float) -> Tensor:
        return self.scores(image - share * zoom[:, None, None, None] * other[:, 0, :3, :4, :4])


def test_a_second_input_of_any_shape_stays_with_its_sample() -> None:
    model, maps, others, zoom = OfTwo(), drawn(N, 4, 4, seed=3), drawn(N, 2, 5, 4, 7, seed=4), torch.tensor([1, 3, 2])
    further = {"other": others, "zoom": zoom, "share": 0.5}

    def areas(*given: Any, **options: Any) -> Tensor:
        return score_curves(*given, {"": Strict(step=1, baseline="zero", patch=2)}, **options)[""].id_score

    others[:, 1] = -torch.inf  # as in a mask that is added; the network does not look there
    for metric in (flipping_area, areas, subset_correlation):
        found = metric(model, IMAGES, maps, Value(2), forward_kwargs=further)  # type: ignore[operator]
        for sample in range(N):
            moved = Shifted(model.scores, 0.5 * zoom[sample] * others[sample, 0, :3, :4, :4])
            alone = metric(moved, IMAGES[sample : sample + 1], maps[sample : sample + 1], Value(2))  # type: ignore[operator]
            assert found[sample].item() == pytest.approx(alone.item(), abs=1e-12)


class Shifted(nn.Module):
    def __init__(self, scores: nn.Module, taken: Tensor) -> None:
        super().__init__()
        self.scores, self.taken = scores, taken

    def forward(self, image: Tensor) -> Tensor:
        return self.scores(image - self.taken)


@pytest.mark.parametrize("frame", [False, True])
def test_a_box_is_followed_and_not_its_rank(frame: bool) -> None:
    """In the first image the left half leads, in the second the right one; what is taken away first is what leads."""
    images = torch.ones(2, 3, 8, 8, dtype=torch.float64)
    images[0, :, :, 4:] *= 0.7
    images[1, :, :, :4] *= 0.6
    maps = torch.zeros(2, 8, 8)
    maps[0, :, :4] = torch.arange(1, 33).view(8, 4)
    maps[1, :, 4:] = torch.arange(1, 33).view(8, 4)
    box = Detection(int(frame))  # behind the frame, which is surest
    steps = 8
    found = flipping_area(Halves(frame), images, maps, box, steps=steps, baseline="zero")
    gone = [step / 4 for step in range(1, 5)] + [1] * 4  # of the half, as 64 / 8 pixels go at each step
    left = [1 - share if 1 - share >= 0.2 else 0 for share in gone]
    right = [1 - share if 1 - share > 0.4 else 0 for share in gone]  # moved too far to be the same one
    expected = [np.trapezoid(values, dx=1 / (steps - 1)) for values in (left, right)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_box_of_a_part_is_followed() -> None:
    class InADict(Halves):
        def forward(self, images: Tensor) -> Any:
            return {"boxes": super().forward(images)}

    images, maps = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.3, drawn(2, 8, 8)
    inside = flipping_area(InADict(), images, maps, Key("boxes", Detection(1)), steps=5)
    assert torch.equal(inside, flipping_area(Halves(), images, maps, Detection(1), steps=5))


class Scores(Halves):
    def found(self, image: Tensor) -> dict[str, Tensor]:
        return {"scores": super().found(image)["scores"]}


class Erratic(nn.Module):
    """Answers one image with as many scores as it has bright pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, : max(2, int((images != 0).sum() / len(images)))]


class NotANumber(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (x[:, :1, 0, 0] != 0)


REFUSED: dict[str, tuple[nn.Module, Any, str]] = {
    "Pixels of classes": (fixed(Flat(48)), Pixels(1), r"is of scores .* but the network returned a tensor \(3, 4\)"),
    "a box of classes": (fixed(Flat(48)), Detection(), r"is of boxes, .* but the network returned a tensor \(3, 4\)"),
    "a class of places": (DENSE, 1, r"not a tensor \(\d+, 4, 4, 4\); of any other output give a target"),
    "a class of a dictionary": (fixed(Named()), 1, "not a dict of species, places; of any other output give a target"),
    "Value of a dictionary": (fixed(Named()), Value(1), "with output=.* it returns a dict with species, places"),
    "a part that is not there": (fixed(Named()), Key("genus", 1), "no part 'genus': it returns a dict with species"),
    "a function of one number": (
        fixed(Flat(48)), lambda o: o.sum(1),
        r"target: the function must return relevance of shape \(3, 4\), not a tensor \(3,\)",
    ),
    "a class that is none": (fixed(Flat(48)), torch.tensor([0, 1, 4]), "target 4 is not one of the model's 4 classes"),
    "a class nowhere": (DENSE, Pixels(1, torch.zeros(4, 4)), r"Pixels\(1\) has no place in sample 0"),
    "no boxes": (Halves(), Detection(), r"Detection\(box=0\): the network returned 0 boxes for image 0"),
    "boxes without places": (Scores(), Detection(), 'that can be followed, with "boxes", "labels" and "scores"'),
    "another shape": (Erratic(), lambda o: o, r"it returns \(\d+, \d+\) for some inputs and \(3, 48\) for others"),
    "not a number": (NotANumber(48), Value(0), "the model's answer for sample 0 of the batch is not a number"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_one_line_that_names_the_output(name: str) -> None:
    model, target, words = REFUSED[name]
    images = torch.zeros_like(IMAGES) if name == "no boxes" else IMAGES.abs() + 1
    for metric in (
        lambda *given: flipping_area(*given, steps=4),
        lambda *given: subset_correlation(*given, subsets=3, baseline="zero"),
        lambda *given: score_curves(*given, {"": Strict(step=4, baseline="zero")}),
    ):
        with pytest.raises(InputError, match=words) as error:
            metric(model, images, drawn(N, 4, 4), target)
        assert "\n" not in str(error.value)


def test_what_has_no_meaning_for_a_value_is_refused() -> None:
    model, maps = fixed(Flat(48)), drawn(N, 4, 4)
    with pytest.raises(InputError, match="road asks how often a class stays the predicted one, so it is of classes"):
        imputed_survival(model, IMAGES, maps, Value(1))
    classes = r"expected an int or a tensor of 3 class indices, not Value"
    with pytest.raises(InputError, match=f"targets: {classes}"):
        grid_pointing_game(model, lambda *given: maps, IMAGES, Value(1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"labels: {classes}"):
        global_attribution_evaluation(model, lambda *given: maps, IMAGES, Value(1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tolerance: it is of curves of probabilities"):
        score_curves(model, IMAGES, maps, Value(1), {"": Strict(step=4)}, tolerance=0.01)
