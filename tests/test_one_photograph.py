"""One call from a photograph to a map: it is of what the network saw, and says what it rests on."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.transforms import v2

from relsplit import Explanation, explain
from relsplit.errors import InputError
from relsplit.explainers import ClassEvidence, RelevancePyramid
from relsplit.pictures import light_overlay

PREPARE = ResNet18_Weights.DEFAULT.transforms()
NAMES = ResNet18_Weights.DEFAULT.meta["categories"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return resnet18().eval()


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC)


def test_the_map_is_of_what_the_network_saw(network: nn.Module, photograph: Image.Image) -> None:
    seen = PREPARE(photograph)[None]
    with torch.no_grad():
        probabilities = network(seen).softmax(1)[0]
    explanation = explain(network, photograph, target=3, transform=PREPARE, categories=NAMES)
    assert (explanation.target, explanation.prediction) == (3, int(probabilities.argmax()))
    assert explanation.probability == pytest.approx(float(probabilities[3]), rel=1e-5)
    assert float(explanation.relevance.sum()) == pytest.approx(explanation.probability, rel=1e-5)
    assert explanation.gap <= 1e-5
    expected = ClassEvidence(network).attribute(seen, 3)[0]
    torch.testing.assert_close(explanation.relevance, expected, rtol=1e-5, atol=0)
    pixels = np.asarray(photograph.resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240)))
    assert np.abs(explanation.image.numpy().astype(int) - pixels).max() <= 1
    assert str(explanation).startswith(f"{NAMES[3]} (3) (predicted: {NAMES[explanation.prediction]} ")


def test_the_predicted_class_is_explained_by_default(network: nn.Module, photograph: Image.Image) -> None:
    explanation = explain(network, PREPARE(photograph))
    assert explanation.target == explanation.prediction
    said = rf"class {explanation.target} \(as predicted\): p = 0\.\d+, gap \d\.\de-\d\d"
    assert re.fullmatch(said, str(explanation))


def test_a_network_of_timm_brings_its_transform(photograph: Image.Image) -> None:
    network = timm.create_model("resnet18", num_classes=7).eval()
    data = timm.data.resolve_model_data_config(network)
    prepare = timm.data.create_transform(**data, is_training=False)
    own, given = explain(network, photograph), explain(network, photograph, transform=prepare)
    torch.testing.assert_close(own.relevance, given.relevance, rtol=0, atol=0)
    assert own.image.shape == (224, 224, 3)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "L"])
def test_any_mode_of_a_photograph_is_converted(network: nn.Module, photograph: Image.Image, mode: str) -> None:
    converted = photograph.convert(mode)
    expected = explain(network, PREPARE(converted.convert("RGB")), target=0)
    explanation = explain(network, converted, target=0, transform=PREPARE)
    torch.testing.assert_close(explanation.relevance, expected.relevance, rtol=0, atol=0)


def test_one_channel_and_one_logit(photograph: Image.Image) -> None:
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1)]
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), *pooled)
    steps = [v2.ToImage(), v2.Resize(64), v2.CenterCrop(64), v2.ToDtype(torch.float32, scale=True)]
    prepare = v2.Compose([*steps, v2.Normalize([0.5], [0.25])])
    explanation = explain(network, photograph, transform=prepare)
    seen = prepare(photograph.convert("L"))
    with torch.no_grad():
        positive = float(network(seen[None]).sigmoid())
    assert explanation.prediction == int(positive > 0.5)
    assert explanation.probability == pytest.approx(max(positive, 1 - positive), rel=1e-5)
    assert explanation.gap <= 1e-5
    grey = (255 * (seen[0] * 0.25 + 0.5)).round()
    for channel in explanation.image.unbind(2):
        torch.testing.assert_close(channel.float(), grey, rtol=0, atol=1)


def test_a_tensor_is_shown_from_dark_to_bright(network: nn.Module) -> None:
    image = torch.linspace(-2, 3, 3 * 64 * 64).reshape(3, 64, 64)
    explanation = explain(network, image)
    assert (int(explanation.image.min()), int(explanation.image.max())) == (0, 255)
    assert explain(network, torch.zeros(1, 3, 64, 64)).image.max() == 0


def test_another_explainer_is_said_by_its_gap(network: nn.Module, photograph: Image.Image) -> None:
    class Constant:
        forward_equivalents = 0.0

        def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
            return torch.full((1, 7, 7), 2.0)

    explanation = explain(network, photograph, transform=PREPARE, explainer=Constant())
    assert explanation.relevance.shape == (224, 224)
    assert explanation.gap == pytest.approx(2 * 224 * 224 / explanation.probability, rel=1e-3)
    pyramid = RelevancePyramid(network)
    relevance = explain(network, photograph, transform=PREPARE, explainer=pyramid, target=5).relevance
    torch.testing.assert_close(relevance, pyramid.attribute(PREPARE(photograph)[None], 5)[0], rtol=1e-5, atol=0)


def test_the_network_is_left_as_it_was(photograph: Image.Image) -> None:
    network = resnet18().train()
    before = copy.deepcopy(network.state_dict())
    explain(network, photograph, transform=PREPARE)
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_pictures_show_the_image_and_the_image_under_its_map(network: nn.Module, tmp_path: Path) -> None:
    explanation = explain(network, torch.rand(3, 64, 48))
    overlaid = explanation.overlay()
    expected = 255 * light_overlay(explanation.image.numpy(), explanation.relevance.numpy())
    np.testing.assert_allclose(overlaid, expected, atol=0.51)
    explanation.save(tmp_path / "map.png")
    written = np.asarray(Image.open(tmp_path / "map.png"))
    np.testing.assert_array_equal(written, np.concatenate([explanation.image.numpy(), overlaid], axis=1))
    with pytest.raises(ValueError, match="extension"):
        explanation.save(tmp_path / "map.nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"]


def test_probability_zero_has_no_gap() -> None:
    output = nn.Linear(4, 2)
    output.bias.data = torch.tensor([0.0, 1e4])
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)
    with pytest.warns(UserWarning, match="flat map"):
        assert explain(network, torch.rand(3, 8, 8), target=0).gap == float("inf")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a path": ({"image": "cat.jpg"}, r"image: expected a photograph of PIL, Image\.open\(path\)"),
    "two images": ({"image": torch.rand(2, 3, 64, 64)}, r"expected one image.*\(2, 3, 64, 64\)"),
    "integers": ({"image": torch.ones(3, 64, 64, dtype=torch.uint8)}, "expected one image, a floating point"),
    "no transform": ({"image": Image.new("RGB", (64, 64))}, r"transform: a photograph needs .*\.transforms\(\)"),
    "a transform of a tensor": ({"image": torch.rand(3, 64, 64), "transform": PREPARE}, "it is for photographs"),
    "an array for a tensor": (
        {"image": Image.new("RGB", (64, 64)), "transform": np.asarray},
        "transform: it must give a tensor .* not ndarray",
    ),
    "few names": ({"image": torch.rand(3, 64, 64), "categories": ["cat"]}, "has 1000 classes, and 1 are named"),
    "no such class": ({"image": torch.rand(3, 64, 64), "target": 1000}, r"\[0, 999\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line(network: nn.Module, name: str) -> None:
    given, said = WRONG[name]
    with pytest.raises(InputError, match=said) as caught:
        explain(network, **given)
    assert "\n" not in str(caught.value)


def test_an_explanation_is_a_value() -> None:
    assert Explanation.__dataclass_params__.frozen  # type: ignore[attr-defined]
