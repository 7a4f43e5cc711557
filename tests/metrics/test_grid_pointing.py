"""The grid pointing game: explainers whose score is known, what a score depends on, and what cannot be played."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_columns import batch as explained_batch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from colour_detector import ColourDetector, colour_images
from relsplit import LRP
from relsplit.errors import InputError
from relsplit.explainers import Center, Edges, GradCAM, OnePixel, RandomMap
from relsplit.metrics import GridPointing, GridPointingColumn, grid_pointing_game
from relsplit.metrics.mosaic import cell_slices, tiled


class NineChannels(nn.Sequential):
    """Class k is channel k."""

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 9, bias=False))
        self[2].weight.data = scale * torch.eye(9)


def nine_images(count: int = 18, side: int = 6) -> tuple[Tensor, Tensor]:
    targets = torch.arange(count) % 9
    noise = torch.rand(count, 9, side, side, generator=torch.Generator().manual_seed(0))
    return torch.eye(9)[targets][:, :, None, None] * (1 + noise), targets


def oracle(images: Tensor, targets: Tensor) -> Tensor:
    """1 where the class is."""
    return torch.stack([image[target] > 0.5 for image, target in zip(images, targets, strict=True)]).double()


def elsewhere(images: Tensor, targets: Tensor) -> Tensor:
    return 1 - oracle(images, targets)


def uniform(images: Tensor, targets: Tensor) -> Tensor:
    return torch.ones_like(images[:, 0])


def noise(images: Tensor, targets: Tensor) -> Tensor:
    return RandomMap(nn.Identity()).attribute(images)


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("explained", ["own", "all"])
@pytest.mark.parametrize("cells", [2, 3])
def test_explainers_whose_score_is_known(cells: int, explained: str, shrink: bool) -> None:
    images, targets = nine_images()
    for explain, expected in ((oracle, 1), (elsewhere, 0), (uniform, 1 / cells**2)):
        found = grid_pointing_game(
            NineChannels(), explain, images, targets, cells=cells, explained=explained, shrink=shrink
        )
        torch.testing.assert_close(found, torch.full((18,), expected, dtype=torch.float64))


def test_negative_relevance_counts_as_none_and_a_map_without_positive_relevance_scores_0() -> None:
    images, targets = nine_images()
    for explain, expected in (
        (lambda i, t: oracle(i, t) - 5 * elsewhere(i, t), 1),
        (lambda i, t: -oracle(i, t), 0),
        (lambda i, t: 0 * oracle(i, t), 0),
    ):
        assert grid_pointing_game(NineChannels(), explain, images, targets).tolist() == [expected] * 18


def test_methods_find_the_cell_that_the_network_sees() -> None:
    network, (images, targets) = ColourDetector(), colour_images(8)
    lrp = LRP(network)
    cam = GradCAM(network, target_layer="0")
    for explain in (lambda i, t: lrp.attribute(i, t).sum(1), cam.attribute):
        found = grid_pointing_game(network, explain, images, targets, explained="all")
        torch.testing.assert_close(found, torch.ones(8, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("control", [RandomMap, Center, Edges, OnePixel])
def test_what_does_not_look_at_the_class_scores_chance(control: Callable[[nn.Module], RandomMap]) -> None:
    network, (images, targets) = ColourDetector(), colour_images(160)
    method = control(network)
    every = grid_pointing_game(network, method.attribute, images[:8], targets[:8], explained="all")
    torch.testing.assert_close(every, torch.full((8,), 0.25, dtype=torch.float64), atol=1e-6, rtol=0)
    own = grid_pointing_game(network, method.attribute, images, targets)
    assert abs(float(own.mean()) - 0.25) < max(3 * float(own.std()) / 160**0.5, 1e-3)


def test_a_mosaic_shows_images_of_different_classes_that_the_network_is_sure_of() -> None:
    images, targets = nine_images(27)
    images[:9] *= 0.05  # right, and never sure
    targets[9] = 5  # said to be of another class than the network sees
    seen: list[Tensor] = []

    def explain(mosaics: Tensor, classes: Tensor) -> Tensor:
        seen.append(mosaics[0])
        return oracle(mosaics, classes)

    found = grid_pointing_game(NineChannels(), explain, images, targets)
    assert found.isnan().tolist() == [True] * 10 + [False] * 17
    sure, places = images[10:], set()
    for own, mosaic in zip(sure, seen, strict=True):
        parts = torch.stack([mosaic[:, row, column] for row, column in cell_slices(12, 12, 2)])
        shown = [(part == sure).flatten(1).all(1).nonzero()[0].item() for part in parts]
        assert len({int(targets[10 + i]) for i in shown}) == 4
        places.add([torch.equal(part, own) for part in parts].index(True))
    assert places == {0, 1, 2, 3}  # its own cell is any of them
    everything = grid_pointing_game(NineChannels(), oracle, images, targets, confidence=0.0)
    assert everything.isnan().nonzero().tolist() == [[9]]  # however unsure, it must be right


def test_classes_that_an_image_shows_besides_its_own_are_not_asked_for_beside_it() -> None:
    """Sigmoids: images of class 0 show class 1, too, so the two never meet; of four classes no grid can be made then,
    but for those that the four of the others may fill."""
    network = nn.Sequential(NineChannels(40.0), nn.Sigmoid())
    with torch.no_grad():
        network[0][2].bias = nn.Parameter(torch.full((9,), -10.0))
    images, targets = nine_images(36)
    images, targets = images[targets < 5], targets[targets < 5]
    second = targets == 0
    images[second, 1] = 0.8 * images[second, 0]
    met = []

    def explain(mosaics: Tensor, classes: Tensor) -> Tensor:
        met.append(torch.stack([mosaics[0, :, r, c].mean((1, 2)).argmax() for r, c in cell_slices(12, 12, 2)]).tolist())
        return oracle(mosaics, classes)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = grid_pointing_game(network, explain, images, targets)
        assert found.tolist() == [1] * 20
        assert all(not {0, 1} <= set(classes) for classes in met)
        few = targets < 4
        assert grid_pointing_game(network, explain, images[few], targets[few]).isnan().all()


def test_the_seed_draws_the_mosaics_and_neither_order_nor_batch_does() -> None:
    network, (images, targets) = NineChannels(), nine_images(27)
    found = grid_pointing_game(network, noise, images, targets)
    assert found.unique().numel() == 27
    assert torch.equal(grid_pointing_game(network, noise, images, targets), found)
    assert not torch.isclose(grid_pointing_game(network, noise, images, targets, seed=1), found).any()
    order = torch.randperm(27, generator=torch.Generator().manual_seed(0))
    assert torch.equal(grid_pointing_game(network, noise, images[order], targets[order]), found[order])
    whole = GridPointing(network, noise)
    whole.update(images, targets)
    split = GridPointing(network, noise)
    for part in order.split(5):
        split.update(images[part], targets[part])
    assert whole.compute()["grid_pointing"] == pytest.approx(float(found.mean()))
    assert float(split.compute()["grid_pointing"]) == pytest.approx(float(found.mean()), abs=1e-12)
    with torch.inference_mode():
        inside = GridPointing(network, lambda i, t: LRP(network).attribute(i, t).sum(1))
        inside.update(images, targets)
        assert float(inside.compute()["grid_pointing"]) == pytest.approx(1, abs=1e-6)


def test_a_column_of_any_batch_is_what_all_images_together_give() -> None:
    network, (images, targets) = NineChannels(), nine_images(18)
    expected = grid_pointing_game(network, noise, images, targets)
    column = GridPointingColumn()
    column.look_at(network, targets.tolist(), lambda position: images[position])
    given = explained_batch().__dict__ | {"network": network, "explain_with": lambda _: noise}
    for part in (slice(0, 1), slice(3, 8), slice(0, 18)):
        some = type(explained_batch())(**(given | {"images": images[part], "labels": targets[part]}))
        assert torch.equal(column.columns(some)["grid_pointing"], expected[part])
    lost = GridPointingColumn()  # images that cannot be read are in no mosaic
    lost.look_at(network, targets.tolist(), lambda position: images[position] if position > 8 else None)
    rest = grid_pointing_game(network, noise, images[9:], targets[9:])
    some = type(explained_batch())(**(given | {"images": images[9:], "labels": targets[9:]}))
    assert torch.equal(lost.columns(some)["grid_pointing"], rest)
    with pytest.raises(InputError, match="call look_at first"):
        GridPointingColumn().columns(some)


class Anywhere(nn.Module):
    """Convolutional to the end: a larger image has more scores."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1).flatten(1)


ONE_SIZE = {
    "transformer": (lambda: VisionTransformer(12, 4, 1, 2, 16, 32, num_classes=4), "AssertionError: Wrong image"),
    "dense head": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), "RuntimeError: .*mat1 and mat2"),
    "no pooling": (Anywhere, r"with \(1, 576\), one alone with \(1, 144\)"),
}


@pytest.mark.parametrize(("network", "why"), ONE_SIZE.values(), ids=ONE_SIZE)
def test_a_network_of_one_size_is_named_in_one_line(network: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(InputError, match=f"24 x 24 pixels.*{why}.*shrink=true") as caught:
        grid_pointing_game(network(), uniform, *colour_images(8))
    assert "\n" not in str(caught.value)


def test_a_network_of_one_size_plays_on_shrunk_images() -> None:
    network = nn.Sequential(ColourDetector())
    network.register_forward_pre_hook(lambda _, args: torch._assert(args[0].shape[2:] == (12, 12), "12 x 12 only"))
    images, targets = colour_images(8)
    with pytest.raises(InputError, match="12 x 12 only"):
        grid_pointing_game(network, uniform, images, targets)
    lrp = LRP(network)
    found = grid_pointing_game(network, lambda i, t: lrp.attribute(i, t).sum(1), images, targets, shrink=True)
    torch.testing.assert_close(found, torch.ones(8, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_dense_head_behind_adaptive_pooling_takes_the_mosaic() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(36, 9, bias=False))
    network[2].weight.data = 5 * torch.eye(9).repeat_interleave(4, 1)
    images, targets = nine_images()
    assert grid_pointing_game(network, oracle, images, targets).tolist() == [1] * 18


def test_cells_of_a_side_that_does_not_divide_cover_it_once() -> None:
    covered = torch.zeros(8, 10)
    for rows, columns in cell_slices(8, 10, 3):
        covered[rows, columns] += 1
    assert bool((covered == 1).all())
    images = torch.arange(9.0)[:, None, None, None].expand(9, 1, 2, 2)
    assert tiled(images)[0, ::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 1}, "cells must be one of 2, 3, not 1"),
        ({"cells": 4}, "cells must be one of 2, 3, not 4"),
        ({"confidence": 1.5}, "confidence must be"),
        ({"explained": "one"}, "explained must be one of own, all"),
        ({"cells": 3}, "images of 9 classes together, but the samples are of 4"),
        ({"confidence": 1.0}, "a probability of at least 1 on images of 0 alone"),
    ],
)
def test_what_cannot_be_played(options: dict[str, Any], message: str) -> None:
    images, targets = colour_images(8)
    network = nn.Sequential(ColourDetector(), nn.Hardtanh(-8.0, 8.0))  # never quite sure

    def compute() -> None:
        metric = GridPointing(network, uniform, **options)
        metric.update(images, targets)
        metric.compute()

    for play in (lambda: grid_pointing_game(network, uniform, images, targets, **options), compute):
        with pytest.raises(InputError, match=message) as caught:
            play()
        assert "\n" not in str(caught.value)


def test_maps_and_images_that_do_not_fit() -> None:
    network, (images, targets) = ColourDetector(), colour_images(8)
    with pytest.raises(InputError, match=r"\(1, 24, 24\)"):
        grid_pointing_game(network, lambda i, t: i[:, 0, ::2, ::2], images, targets)
    with pytest.raises(InputError, match=r"must lie in \[0, 3\]"):
        grid_pointing_game(network, uniform, images, targets + 1)
    metric = GridPointing(network, uniform)
    with (
        pytest.warns(UserWarning, match="before the ``update``"),
        pytest.raises(InputError, match="call update before"),
    ):
        metric.compute()
