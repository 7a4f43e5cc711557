"""Gradient-based explainers of any output: parts of it, and targets beside a class."""

from typing import Any

import captum.attr
import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from torchvision.models import convnext_tiny, swin_t, vit_b_32
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from relsplit.errors import InputError
from relsplit.explainers import (
    RISE,
    GradCAM,
    GradCAMPlusPlus,
    GuidedBackprop,
    HiResCAM,
    InputXGradient,
    IntegratedGradients,
    LayerCAM,
    SmoothGrad,
)
from relsplit.targets import Detection, Key, Likeness, Pixels, Value, Weighted
from two_halves import Halves

PIXELS = [InputXGradient, GuidedBackprop, IntegratedGradients, SmoothGrad]
CAMS = [GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM]


class Network(nn.Module):
    """Answers with a dictionary: logits, an embedding, and a class at every place."""

    def __init__(self, made: Any = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
        )
        self.dense, self.head, self.made = nn.Conv2d(8, 4, 1), nn.Linear(8, 5), made

    def forward(self, x: Tensor) -> Any:
        h = self.features(x)
        output = {"logits": self.head(h.mean((2, 3))), "embedding": h.amax((2, 3)), "dense": self.dense(h)}
        return output if self.made is None else self.made(output)


def network(made: Any = None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(made).double().eval()


X = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double()


def made(method: Any, model: nn.Module, **options: Any) -> Any:
    options |= {"steps": 6} if method is IntegratedGradients else {"samples": 3} if method is SmoothGrad else {}
    if method in CAMS:
        options["target_layer"] = "features[-1]"
    return method(model, **options)


@pytest.mark.parametrize("method", [*PIXELS, *CAMS])
def test_logits_in_a_dictionary_are_found_or_named(method: Any) -> None:
    plain = made(method, network(lambda out: out["logits"])).attribute(X, 2)
    assert torch.equal(made(method, network()).attribute(X, 2), plain)
    assert torch.equal(made(method, network(), output="logits").attribute(X, 2), plain)
    assert torch.equal(made(method, network()).attribute(X, Key("logits", 2)), plain)


@pytest.mark.parametrize("method", [InputXGradient, GuidedBackprop, IntegratedGradients, *CAMS])
def test_a_logit_as_a_target_is_that_of_its_class(method: Any) -> None:
    model = network()
    expected = made(method, model).attribute(X, torch.tensor([1, 3]))
    torch.testing.assert_close(made(method, model).attribute(X, Value(torch.tensor([1, 3]))), expected)
    torch.testing.assert_close(made(method, model).attribute(X, Key("logits", Value(torch.tensor([1, 3])))), expected)


def test_gradients_of_other_outputs_are_autograds_and_captums() -> None:
    model, vector = network(), torch.randn(8, generator=torch.Generator().manual_seed(1)).double()
    mask = torch.zeros(12, 12).bool()
    mask[3:7] = True
    targets = {
        Key("embedding", Likeness(vector)): lambda out: torch.cosine_similarity(out["embedding"], vector[None]),
        Key("dense", Pixels(1, mask, score="value")): lambda out: (out["dense"][:, 1] * mask).sum((1, 2)),
        Weighted({0: 1, 4: -1}): lambda out: out["logits"][:, 0] - out["logits"][:, 4],
    }
    for target, score in targets.items():
        variable = X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(model(variable)).sum(), variable)
        torch.testing.assert_close(InputXGradient(model).attribute(X, target), X * gradient)
        peer = captum.attr.IntegratedGradients(lambda x: score(model(x)))  # noqa: B023
        expected = peer.attribute(X, n_steps=6, internal_batch_size=2).detach()
        found = IntegratedGradients(model, steps=6).attribute(X, target)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)  # captum's steps are single precision


def test_what_a_target_chooses_is_chosen_for_the_image_itself() -> None:
    """On the way to the baseline other pixels would be of the class, or none."""
    model = network()
    chosen = int(model(X)["dense"].argmax(1).flatten().mode().values)
    region = model(X)["dense"].argmax(1) == chosen
    found = IntegratedGradients(model, steps=6).attribute(X, Key("dense", Pixels(chosen)))
    expected = IntegratedGradients(model, steps=6).attribute(X, Key("dense", Pixels(chosen, mask=region)))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("make", [swin_t, convnext_tiny, vit_b_32], ids=["Swin", "ConvNeXt", "ViT"])
def test_cams_of_channels_last_and_of_tokens(make: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(num_classes=3, **({"image_size": 64} if make is vit_b_32 else {})).eval()
        head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.normal_(head.weight)  # a vision transformer's begins with zeros
        x = torch.randn(1, 3, 64, 64)
    maps = GradCAM(model).attribute(x, Value(1))
    assert maps.shape == (1, 64, 64)
    assert torch.equal(maps, GradCAM(model).attribute(x, 1))
    against = GradCAM(model).attribute(x, lambda out: -Value(1)(out))  # one of the two has a positive part
    assert maps.std() + against.std() > 0


def test_a_box_of_a_detector() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        backbone.out_channels = 8  # type: ignore[assignment]
        anchors = AnchorGenerator(((12, 24),), ((1.0,),))
        detector = RetinaNet(
            backbone, 3, min_size=64, max_size=64, anchor_generator=anchors, score_thresh=0.0, detections_per_img=5
        ).eval()  # fmt: skip
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    variable = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sum(found["scores"][1] for found in detector(variable)), variable)
    torch.testing.assert_close(InputXGradient(detector).attribute(images, Detection(1)), images * gradient)
    assert GradCAM(detector, target_layer="backbone[-1]").attribute(images, Detection(1)).shape == (2, 64, 64)


class LeftHalf(nn.Module):
    """As sure of the left half as the detector is."""

    def forward(self, images: Tensor) -> Tensor:
        left = images[:, :, :, :4].mean((1, 2, 3))
        return torch.where(left >= 0.2, left, 0 * left)


@pytest.mark.parametrize("part", [False, True])
def test_a_box_is_followed_behind_masks_and_on_the_way_to_a_baseline(part: bool) -> None:
    """The left half is surest of in the first image alone, and no box is left where the image is dark."""
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double() + 0.5
    images[0, :, :, 4:] *= 0.7
    images[1, :, :, 4:] *= 1.4
    detector = Halves()
    ranks = [int(found["boxes"][:, 0].argmin()) for found in detector(images)]
    assert ranks == [0, 1]
    for image, rank in zip(images[:, None], ranks, strict=True):
        target = Key("found", Detection(rank)) if part else Detection(rank)
        model = InADict() if part else detector
        for method, options in ((RISE, {"samples": 50}), (IntegratedGradients, {"steps": 20}), (SmoothGrad, {})):
            found = method(model, **options).attribute(image, target)  # type: ignore[operator]
            torch.testing.assert_close(found, method(LeftHalf(), **options).attribute(image, Value()))  # type: ignore[operator]


class InADict(Halves):
    def forward(self, images: Tensor) -> Any:
        return {"found": super().forward(images)}


def test_an_image_classifier_of_the_transformers_library() -> None:
    config = hf.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8,
        num_labels=3,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.ViTForImageClassification(config).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert GradCAM(model).attribute(images, 1).shape == (2, 32, 32)
    attribution = IntegratedGradients(model, steps=40).attribute(images, 1)
    difference = model(images).logits[:, 1] - model(torch.zeros_like(images)).logits[:, 1]
    torch.testing.assert_close(attribution.sum((1, 2, 3)), difference.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", [*PIXELS, *CAMS])
def test_a_target_for_another_output_is_one_line(method: Any) -> None:
    for target, words in (
        (Pixels(1), r"Pixels\(1\) is of scores .* but the network returned a tensor \(2, 5\)"),
        (Key("scores", 1), "the model returns no part 'scores': it returns a dict with logits, embedding, dense"),
        (Detection(), r"of boxes, .* but the network returned a dict of logits, embedding, dense"),
        (lambda out: out[:, :1], r"the function must return relevance of shape \(2, 5\), not a tensor \(2, 1\)"),
    ):
        with pytest.raises(InputError, match=words) as error:
            made(method, network()).attribute(X, target)
        assert "\n" not in str(error.value)
