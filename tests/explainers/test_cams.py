"""Grad-CAM, Score-CAM and RISE against pytorch-grad-cam by hand and against their definitions."""

import copy
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_grad_cam
import torch
import torch.nn.functional as F
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from small_networks import seeded_images, small_resnet, small_vgg
from torch import Tensor, nn
from torchvision.models import resnet18

from relsplit.errors import InputError
from relsplit.explainers import GradCAMPlusPlus, HiResCAM, LayerCAM
from relsplit.explainers.grad_cam import GradCAM
from relsplit.explainers.rise import RISE
from relsplit.explainers.score_cam import ScoreCAM, different_masks
from relsplit.explainers.shared.on_the_image import on_the_image

TARGET = torch.tensor([4, 0, 2])


def by_hand(method: Any, network: nn.Module, layer: str, images: Tensor, score: Any = ClassifierOutputTarget) -> Tensor:
    network = copy.deepcopy(network)
    with method(network, [network.get_submodule(layer)]) as cam:
        return torch.from_numpy(cam(images.clone(), [score(int(c)) for c in TARGET])).double()


@pytest.mark.parametrize("layer", ["layer4.1", "layer3.0", "layer1"])
def test_grad_cam_is_pytorch_grad_cam(layer: str) -> None:
    network, images = small_resnet(), seeded_images()
    found = GradCAM(network, target_layer=layer).attribute(images, TARGET)
    torch.testing.assert_close(found, by_hand(pytorch_grad_cam.GradCAM, network, layer, images), atol=1e-6, rtol=1e-6)


def random_resnet18() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return resnet18(num_classes=5).double().eval()


KIN = {
    "GradCAM": (GradCAM, pytorch_grad_cam.GradCAM),
    "GradCAMPlusPlus": (GradCAMPlusPlus, pytorch_grad_cam.GradCAMPlusPlus),
    "HiResCAM": (HiResCAM, pytorch_grad_cam.HiResCAM),
    "LayerCAM": (LayerCAM, pytorch_grad_cam.LayerCAM),
}


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize(
    ("make", "layer"),
    [(small_resnet, "layer3.0"), (small_vgg, "features.4"), (random_resnet18, "layer4.1"), (random_resnet18, "layer2")],
)
@pytest.mark.parametrize("name", KIN)
def test_the_kin_of_grad_cam_are_those_of_pytorch_grad_cam(name: str, make: Any, layer: str, score: str) -> None:
    own, peer = KIN[name]
    network, images = make(), seeded_images(size=96)
    found = own(network, target_layer=layer, score=score).attribute(images, TARGET)
    explained = {"logit": ClassifierOutputTarget, "probability": ClassifierOutputSoftmaxTarget}[score]
    expected = by_hand(peer, network, layer, images, explained)
    assert expected.amax() > 0.5  # a class that nothing speaks for has an empty one
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def activation_and_gradient(network: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = network(images).gather(1, TARGET[:, None]).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach(), gradient


COMBINED = {
    GradCAM: lambda a, g: (g.mean((2, 3), keepdim=True) * a).sum(1),
    HiResCAM: lambda a, g: (g * a).sum(1),
    LayerCAM: lambda a, g: (g.relu() * a).sum(1),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("method", COMBINED, ids=lambda method: method.__name__)
def test_smoothed_as_a_pyramid_is(method: Any, smoothing: float) -> None:
    network, images = random_resnet18(), seeded_images(size=96)
    cam = COMBINED[method](*activation_and_gradient(network, "layer4", images)).relu()
    expected = on_the_image(cam, (96, 96), smoothing)
    found = method(network, smoothing=smoothing).attribute(images, TARGET)
    torch.testing.assert_close(found, expected / expected.amax((1, 2), keepdim=True))
    with pytest.raises(InputError, match="smoothing must be"):
        method(network, smoothing=2.0)


def test_grad_cam_of_nothing_stays_nothing_when_it_is_smoothed() -> None:
    network = small_vgg()
    with torch.no_grad():
        network.classifier.weight[1] = -1  # of activations that are never negative
    found = GradCAM(network, smoothing=0.05).attribute(seeded_images(), 1)
    assert found.count_nonzero() == 0


@pytest.mark.parametrize("variant", ["probability", "channel_softmax"])
def test_score_cam_smoothed_as_a_pyramid_is(variant: Any) -> None:
    """Every channel counts as in the map that is not smoothed: that one is the upsampled sum of the same cells."""
    network, images = small_resnet(), seeded_images(size=160)
    score_cam = ScoreCAM(network, variant=variant, smoothing=0.0)
    activation, _ = activation_and_gradient(network, "layer4", images)
    cells = torch.zeros_like(activation[:, 0])
    for index, image in enumerate(images):
        for channel in activation[index]:
            mask = F.interpolate(
                channel[None, None], size=(160, 160), mode="bilinear", align_corners=variant == "channel_softmax"
            )
            low, high = mask.min(), mask.max()
            unit = (mask - low) / (high - low).clamp(min=1e-300)
            logits = network(image[None] * unit)[0].detach()
            cells[index] += (
                channel
                * {
                    "probability": logits.softmax(0)[TARGET[index]] * (high > low),
                    "channel_softmax": logits[TARGET[index]].exp(),
                }[variant]
            )
    expected = on_the_image(cells.relu(), (160, 160), 0.0)
    expected /= expected.amax((1, 2), keepdim=True)
    torch.testing.assert_close(score_cam.attribute(images, TARGET), expected)
    wide = ScoreCAM(network, variant=variant, smoothing=0.2).attribute(images, TARGET)
    assert (wide.mean((1, 2)) > 1.2 * expected.mean((1, 2))).all()


def test_where_opencv_cannot_be_loaded_only_grad_cam_is_missing(tmp_path: Path) -> None:
    """As in a container without libGL, where another package has brought the OpenCV that needs it."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = (
        "from relsplit.explainers import RISE, ScoreCAM; from relsplit.c1c import C1C; import relsplit.explainers as e"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; C1C()(__import__('torch').rand(1, 30, 30)); e.GradCAM"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stderr.splitlines()[-1]
    assert said.startswith(
        "relsplit.errors.InputError: Grad-CAM and its kin need pytorch-grad-cam, which cannot be loaded (libGL"
    )
    assert "pip install" in said


def test_grad_cam_of_a_layer_whose_output_is_changed_in_place() -> None:
    network, images = small_resnet(), seeded_images()
    found = GradCAM(network, target_layer="layer2[1].bn3").attribute(images, TARGET)
    kept: list[Tensor] = []
    handle = network.layer2[1].bn3.register_forward_hook(
        lambda _m, _i, output: kept.append(output.clone()) or kept[-1] + 0
    )
    logits = network(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.gather(1, TARGET[:, None]).sum(), kept[0])
    cam = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1).relu().detach()
    cam = F.interpolate(cam[:, None], size=(64, 64), mode="bilinear")[:, 0]
    cam = cam - cam.amin(dim=(1, 2), keepdim=True)
    assert cam.amax(dim=(1, 2)).count_nonzero() > 0
    torch.testing.assert_close(found, cam / cam.amax(dim=(1, 2), keepdim=True).clamp(min=1e-7), atol=2e-3, rtol=0)


def test_grad_cam_of_the_probability() -> None:
    network, images = small_resnet(), seeded_images()
    found = GradCAM(network, score="probability").attribute(images, TARGET)
    expected = by_hand(pytorch_grad_cam.GradCAM, network, "layer4.1", images, ClassifierOutputSoftmaxTarget)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("method", [GradCAM, ScoreCAM])
def test_layer_names(method: Any) -> None:
    network, images = small_resnet(), seeded_images()
    expected = method(network).attribute(images, TARGET)
    for name in ("layer4[1]", "layer4.-1", "layer4.1", "layer4", "auto"):
        assert torch.equal(method(network, target_layer=name).attribute(images, TARGET), expected)
    vgg = small_vgg()
    named, found = (method(vgg, target_layer=name).attribute(images, TARGET) for name in ("features[-1]", "auto"))
    assert torch.equal(named, found)
    for wrong, said in (("layer4[2]", "layer4 has 0, 1"), ("layer5", "conv1, bn1"), ("conv1.weight", "no modules")):
        with pytest.raises(InputError, match=said) as caught:
            method(network, target_layer=wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"features, avgpool, flatten, classifier.*auto"):
        method(vgg, target_layer="layer4[-1]")
    assert torch.equal(method(vgg).attribute(images, TARGET), found)
    for each, expected in ((network, method(network, "layer4[-1]")), (vgg, method(vgg, "auto"))):
        published = method(each, target_layer="published")
        assert torch.equal(published.attribute(images, TARGET), expected.attribute(images, TARGET))
        assert published.forward_equivalents == expected.forward_equivalents
    wrapped = method(nn.DataParallel(network), target_layer="layer3[0]").attribute(images, TARGET)
    assert torch.equal(wrapped, method(network, target_layer="layer3[0]").attribute(images, TARGET))
    with pytest.raises(InputError, match=r"avgpool returns a map of a single cell.*before it or auto"):
        method(network, target_layer="avgpool").attribute(images, TARGET)
    with pytest.raises(InputError, match="feature map"):
        method(network, target_layer="fc").attribute(images, TARGET)


@pytest.mark.parametrize("size", [64, 160])
def test_score_cam_softmax_is_pytorch_grad_cam(size: int) -> None:
    network, images = small_resnet(), seeded_images(size=size)
    found = ScoreCAM(network, variant="channel_softmax", batch_size=7).attribute(images, TARGET)
    expected = by_hand(pytorch_grad_cam.ScoreCAM, network, "layer4.1", images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def released_score_cam(network: Any, image: Tensor, target: int) -> Tensor:
    """One image, one channel at a time, as the released code goes about it."""
    kept: list[Tensor] = []
    handle = network.layer4[-1].register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        network(image[None])
        handle.remove()
        total = torch.zeros_like(image[0])
        for channel in kept[0][0]:
            mask = F.interpolate(channel[None, None], size=image.shape[1:], mode="bilinear", align_corners=False)
            if mask.max() == mask.min():
                continue
            unit = (mask - mask.min()) / (mask.max() - mask.min())
            total += network(image[None] * unit).softmax(dim=1)[0, target] * mask[0, 0]
    total = total.relu()
    return (total - total.min()) / (total.max() - total.min())


def test_score_cam_probability_is_the_released_code_channel_by_channel() -> None:
    network, images = small_resnet(), seeded_images(size=160)
    with torch.no_grad():  # some channels never fire, some always do the same
        network.layer4[-1].bn3.bias[:3] = -50
        network.layer4[-1].bn3.weight[3] = 0
    found = ScoreCAM(network).attribute(images, TARGET)
    expected = [released_score_cam(network, image, int(c)) for image, c in zip(images, TARGET, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_score_cam_evaluates_equal_masks_once() -> None:
    activation = torch.zeros(2, 6, 2, 2)
    activation[0, 1] = 3.0  # constant
    activation[0, 2, 0, 1] = 1.0
    activation[0, 3, 0, 1] = 7.0  # the same mask as channel 2
    activation[0, 4] = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    activation[0, 5] = 10 * activation[0, 4] - 3
    activation[1, 2, 0, 1] = 1.0  # another image: its own
    masks = different_masks(activation)
    assert masks.constant.tolist() == [[True, True, False, False, False, False], [True, True, False, True, True, True]]
    assert masks.image.tolist() == [0, 0, 0, 1, 1]
    of = masks.pattern_of
    assert of[0, 0] == of[0, 1]
    assert of[0, 2] == of[0, 3]
    assert of[0, 4] == of[0, 5]
    assert len(set(of[0].tolist())) == 3
    expected = torch.tensor([[0, 0.25], [0.5, 1]])
    torch.testing.assert_close(masks.patterns[of[0, 5]], expected)


def test_score_cam_counts_its_channels() -> None:
    assert ScoreCAM(small_resnet()).forward_equivalents == 17
    assert ScoreCAM(small_resnet(), "layer1").forward_equivalents == 17
    assert ScoreCAM(small_resnet(), "conv1").forward_equivalents == 9
    assert ScoreCAM(small_vgg(), "features[-1]").forward_equivalents == 13
    assert ScoreCAM(small_vgg(), "auto").forward_equivalents == 13


class BrightCorner(nn.Module):
    """Class 1's logit grows with the mean of the upper left quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(6.0, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        half = images.shape[-1] // 2
        logit = self.scale * (images[:, :, :half, :half].mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-logit, logit], dim=1)


def test_rise_finds_what_the_network_looks_at() -> None:
    images = torch.ones(1, 3, 48, 48, dtype=torch.float64)
    maps = RISE(BrightCorner(), samples=600).attribute(images, 1)
    inside, outside = maps[0, :20, :20].mean(), maps[0, 28:, 28:].mean()
    assert inside > 1.02 * outside
    assert torch.equal(maps, RISE(BrightCorner(), samples=600).attribute(images, 1))
    assert not torch.equal(maps, RISE(BrightCorner(), samples=600, seed=1).attribute(images, 1))
    torch.testing.assert_close(maps, RISE(BrightCorner(), samples=600, batch_size=101).attribute(images, 1))


def test_rise_masks_show_each_pixel_as_often_as_expected() -> None:
    rise = RISE(BrightCorner(), samples=2000, keep=0.3, batch_size=500)
    masks = torch.cat(list(rise._masks(seeded_images(1, 48)[0])))
    assert masks.shape == (2000, 48, 48)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-12
    assert (masks.mean(dim=0) - 0.3).abs().max() < 0.06


@pytest.mark.parametrize(
    "make", [ScoreCAM, lambda net, **o: ScoreCAM(net, variant="channel_softmax", **o), partial(RISE, samples=200)]
)
def test_half_precision_gives_the_same_picture(make: Any) -> None:
    network, images = small_resnet().float(), seeded_images().float()
    whole, half = (make(network, precision=name).attribute(images, TARGET) for name in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    for a, b in zip(whole, half, strict=True):
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.999
    with pytest.raises(InputError, match="fp16 is for GPUs"):
        make(network, precision="fp16").attribute(images, TARGET)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda net: ScoreCAM(net, batch_size=-4), "batch_size must be"),
        (lambda net: ScoreCAM(net, variant="mean"), "variant must be"),
        (lambda net: GradCAM(net, score="loss"), "score must be"),
        (lambda net: RISE(net, samples=0), "samples must be"),
        (lambda net: RISE(net, keep=1.5), "keep must"),
    ],
)
def test_wrong_options_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(small_resnet())
