"""Maps of relevance at several resolutions: nothing is lost on the way to the pixels, and the choice is the best."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_networks import seeded_images
from torch import nn
from torchvision.models import densenet121, efficientnet_b0, mobilenet_v2, resnet18, vgg11
from torchvision.models.vision_transformer import VisionTransformer

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.explainers import ClassEvidence, GradientPyramid, MeasuredPyramid, RelevancePyramid
from relsplit.explainers.shared.on_the_image import on_the_image

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet18(num_classes=5),
    "mobilenet_v2": lambda: mobilenet_v2(num_classes=5),
    "vgg11": lambda: vgg11(num_classes=5),
    "densenet121": lambda: densenet121(num_classes=5),
    "efficientnet_b0": lambda: efficientnet_b0(num_classes=5),
    "vit": lambda: VisionTransformer(64, 16, 2, 2, 24, 48, num_classes=5),
}


@pytest.mark.parametrize("cells", [(1, 1), (2, 3), (7, 7), (16, 5), (31, 64), (50, 130)])
@pytest.mark.parametrize("smoothing", [0.0, 0.01, 0.2])
def test_cells_give_all_they_have_to_pixels_around_them(cells: tuple[int, int], smoothing: float) -> None:
    relevance = torch.randn(3, *cells, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = on_the_image(relevance, (31, 64), smoothing)
    torch.testing.assert_close(found.sum((1, 2)), relevance.sum((1, 2)))
    assert (on_the_image(relevance.abs(), (31, 64), smoothing) >= 0).all()
    for axis in (1, 2):
        torch.testing.assert_close(on_the_image(relevance.flip(axis), (31, 64), smoothing), found.flip(axis))


def test_inside_the_image_it_is_bilinear_interpolation() -> None:
    relevance = torch.rand(2, 8, 8, dtype=torch.float64)
    found = on_the_image(relevance, (32, 32), 0)
    expected = F.interpolate(relevance[:, None], size=(32, 32), mode="bilinear", align_corners=False)[:, 0] / 16
    torch.testing.assert_close(found[:, 6:-6, 6:-6], expected[:, 6:-6, 6:-6])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "method", [RelevancePyramid, MeasuredPyramid, partial(MeasuredPyramid, start="evidence"), GradientPyramid]
)
@pytest.mark.filterwarnings("ignore:.*no position speaks for the class")
def test_maps_sum_to_the_probability(name: str, method: Any) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, VisionTransformer):
            nn.init.normal_(module.heads.head.weight)
    images, target = seeded_images(2, 64).float(), torch.tensor([1, 3])
    probability = model(images).softmax(1).gather(1, target[:, None])[:, 0].detach()
    maps = method(model).attribute(images, target)
    assert maps.shape == (2, 64, 64)
    torch.testing.assert_close(maps.sum((1, 2)), probability, rtol=1e-5, atol=0)


def test_a_mirrored_network_explains_a_mirrored_image_by_the_mirrored_map() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double()
    images = seeded_images(2, 32)
    found = RelevancePyramid(model).attribute(images, 2)
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.flip(3))
    torch.testing.assert_close(RelevancePyramid(model).attribute(images.flip(3), 2), found.flip(2))


def test_the_mean_over_the_resolutions() -> None:
    model, images = resnet18(num_classes=5).eval(), seeded_images(2, 64).float()
    stages = LRP(model, rule="gamma_top").attribute(images, 1, at="all")
    expected = sum(on_the_image(stage.sum(1), (64, 64), 0.1) for stage in stages.values()) / len(stages)
    torch.testing.assert_close(RelevancePyramid(model, smoothing=0.1).attribute(images, 1), expected)


@pytest.mark.parametrize("start", ["probability", "evidence"])
def test_the_chosen_map_has_the_greatest_area_between_its_curves(start: Any) -> None:
    torch.manual_seed(0)
    model, images, target = resnet18(num_classes=5).eval(), seeded_images(4, 64).float(), torch.tensor([0, 1, 2, 3])
    if start == "evidence":
        target = model(images).argmax(1)  # it has evidence
    mean, std, smoothing = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25), (0.02, 0.1)
    black = -torch.tensor(mean) / torch.tensor(std)

    @torch.no_grad()
    def area(image: torch.Tensor, relevance: torch.Tensor, label: int) -> float:
        order = sorted(range(4096), key=lambda pixel: -float(relevance.flatten()[pixel]))
        pictures = []
        for share in range(1, 8):
            chosen = order[: share * 512]
            inserted, deleted = black[:, None].repeat(1, 4096), image.flatten(1).clone()
            inserted[:, chosen], deleted[:, chosen] = image.flatten(1)[:, chosen], black[:, None]
            pictures += [inserted, -deleted]
        signs = torch.tensor([1.0, -1.0]).repeat(7)
        shown = (torch.stack(pictures) * signs[:, None, None]).reshape(14, 3, 64, 64)
        return float((model(shown).softmax(1)[:, label] * signs).sum())

    lrp = LRP(model, rule="gamma_top", start=start, signed=start == "evidence")
    pyramid = ClassEvidence if start == "evidence" else RelevancePyramid
    stages = [stage.sum(1) for stage in lrp.attribute(images, target, at="all").values()]
    candidates = [on_the_image(stage.clamp(min=0), (64, 64), 0) for stage in stages[-2:]]
    candidates += [pyramid(model, smoothing=each).attribute(images, target) for each in smoothing]
    measured = MeasuredPyramid(model, smoothing=smoothing, levels=8, start=start, baseline="black", mean=mean, std=std)
    found = measured.attribute(images, target)
    for index, image in enumerate(images):
        areas = [area(image, maps[index], int(target[index])) for maps in candidates]
        assert area(image, found[index], int(target[index])) == pytest.approx(max(areas), abs=1e-5)
        assert max(areas) - min(areas) > 1e-3
    assert measured.forward_equivalents == 5 + (start == "evidence") + 4 * 14
    assert MeasuredPyramid(model).forward_equivalents <= 140


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"smoothing": (-0.1,)}, "smoothing must be"),
        ({"levels": 1}, "levels must be"),
        ({"baseline": "black"}, "baseline black needs mean and std"),
        ({"rule": "z_minus"}, "'z_minus' is unknown"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MeasuredPyramid(resnet18(num_classes=5), **options)  # type: ignore[arg-type]


def test_smoothing_is_that_of_an_image_that_goes_on_as_its_own_mirror_image() -> None:
    relevance = torch.rand(2, 24, 20, generator=torch.Generator().manual_seed(0))
    wide = torch.cat([relevance.flip(2), relevance, relevance.flip(2)], 2)
    tiled = torch.cat([wide.flip(1), wide, wide.flip(1)], 1)
    inside = on_the_image(tiled, (72, 60), 0.1 / 3)[:, 24:48, 20:40]
    torch.testing.assert_close(on_the_image(relevance, (24, 20), 0.1), inside, rtol=1e-5, atol=0)


def test_one_stage_or_some_by_the_path_of_their_module() -> None:
    torch.manual_seed(0)
    model = resnet18(num_classes=5).eval()
    images = seeded_images(2, 64).float()
    probability = model(images).softmax(1).amax(1).detach()
    alone = RelevancePyramid(model, at="layer3", smoothing=0.0).attribute(images)
    inside = LRP(model, rule="gamma_top").attribute(images, at="layer3")
    torch.testing.assert_close(alone, on_the_image(inside.sum(1), (64, 64), 0.0))
    torch.testing.assert_close(alone.sum((1, 2)), probability, rtol=1e-5, atol=0)
    other = RelevancePyramid(model, at="layer2", smoothing=0.0).attribute(images)
    both = RelevancePyramid(model, at=["layer2", "layer3"], smoothing=0.0).attribute(images)
    torch.testing.assert_close(both, (alone + other) / 2)


@pytest.mark.parametrize(("at", "words"), [("layer9", "layer9"), ("fc", "no feature map"), (["layer3", "fc"], "fc")])
def test_a_place_without_a_feature_map_is_named(at: str | list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        RelevancePyramid(resnet18(num_classes=5).eval(), at=at).attribute(seeded_images(1, 64).float())
