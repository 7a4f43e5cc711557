"""Methods that set a class against others: what both have is nobody's, against dense oracles and by properties."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_networks import seeded_images, small_resnet, small_vgg
from torch import Tensor, nn
from torchvision.models import densenet121, efficientnet_b0, mobilenet_v2, resnet18, vgg11

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.explainers import (
    Center,
    ClassCompetition,
    ContrastiveLRP,
    GradCAM,
    GradientPyramid,
    InputXGradient,
    RelevancePyramid,
    SoftmaxGradientLRP,
)
from relsplit.explainers.class_competition import competition
from relsplit.explainers.gradient_pyramid import contributions
from relsplit.explainers.shared.common_places import KeptValues
from relsplit.explainers.shared.on_the_image import on_the_image

TARGET = torch.tensor([3, 0, 1])


class TwoClasses(nn.Module):
    """Class 0 is made of red and blue, class 1 of green and blue; colours are features as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.body = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            for convolution in (self.features, self.body):
                convolution.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[40.0, 0.0, 40.0], [0.0, 40.0, 40.0]]))
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(self.features(images).relu()).relu().mean((2, 3)))


def coloured() -> Tensor:
    """Red at the upper left, green at the upper right, blue below."""
    image = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    image[0, 0, 1, 1] = image[0, 1, 1, 6] = 1
    image[0, 2, 6, 2:6] = 0.5
    return image


COLOURS = partial(LRP, rule="z_plus", input_rule="activation")
AGAINST: dict[str, Callable[[nn.Module], Any]] = {
    "difference": lambda network: ClassCompetition(network, COLOURS),
    "softmax": lambda network: ClassCompetition(network, COLOURS, by="softmax"),
    "gradients": lambda network: GradientPyramid(network, smoothing=0.0),
}


@pytest.mark.parametrize("name", AGAINST)
def test_what_two_classes_share_is_nobodys(name: str) -> None:
    network, image = TwoClasses(), coloured()
    probability = network(image).softmax(1)[0].detach()
    for target, column in ((0, 1), (1, 6)):
        found = AGAINST[name](network).attribute(image, target)[0]
        expected = torch.zeros(8, 8, dtype=torch.float64)
        expected[1, column] = probability[target]
        torch.testing.assert_close(found, expected)


def test_z_plus_and_grad_cam_alone_see_what_is_shared() -> None:
    assert COLOURS(TwoClasses()).attribute(coloured(), 0).sum(1)[0, 6].sum() > 0.2
    assert GradCAM(TwoClasses(), "body").attribute(coloured(), 0)[0, 6].sum() > 0.2


# --- LRP that starts from several classes ---------------------------------------------------------------------------


class Dense(nn.Module):
    """Two fully connected layers."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.body, self.head = nn.Linear(12, 7), nn.Linear(7, classes)
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images.flatten(1)).relu())


def z_plus(network: Dense, images: Tensor, start: Tensor, head: Tensor) -> Tensor:
    """Relevance (N, 3, 2, 2) of ``start`` (N, classes), by loops over matrices; the image is replaced by ones."""
    relevance = torch.zeros(len(images), 12, dtype=torch.float64)
    hidden = network.body(images.flatten(1)).relu().detach()
    below = network.body.weight.detach().clamp(min=0)
    for n, h in enumerate(hidden):
        above = torch.zeros(7, dtype=torch.float64)
        for unit, weights in zip(start[n], head.detach().clamp(min=0), strict=True):
            contributions = weights * h
            total = contributions.sum()
            above += unit * (contributions / total if total > 0 else torch.ones(7) / 7)
        for unit, weights in zip(above, below, strict=True):
            relevance[n] += unit * weights / weights.sum()
    return relevance.reshape(-1, 3, 2, 2)


def small_images() -> Tensor:
    return seeded_images(3, size=2, seed=4).abs()


@pytest.mark.parametrize("dual", ["others", "negated"])
def test_contrastive_lrp_is_its_definition(dual: Any) -> None:
    network, images = Dense(), small_images()
    probability = network(images).softmax(1).gather(1, TARGET[:, None]).detach()
    own = torch.zeros(3, 4, dtype=torch.float64).scatter(1, TARGET[:, None], probability)
    if dual == "others":
        contrary = z_plus(network, images, ((own == 0) * probability) / 3, network.head.weight)
    else:
        contrary = z_plus(network, images, own, -network.head.weight)
    expected = (z_plus(network, images, own, network.head.weight) - contrary).relu().sum(1)
    found = ContrastiveLRP(network, dual).attribute(images, TARGET)
    assert expected.amax((1, 2)).min() > 1e-4
    torch.testing.assert_close(found, expected)


def test_softmax_gradient_lrp_is_its_definition() -> None:
    network, images = Dense(), small_images()
    logits = network(images).detach().requires_grad_()
    probability = logits.softmax(1).gather(1, TARGET[:, None]).sum()
    (start,) = torch.autograd.grad(probability, logits)
    found = SoftmaxGradientLRP(network).attribute(images, TARGET)
    torch.testing.assert_close(found, z_plus(network, images, start, network.head.weight).sum(1))


def test_what_speaks_for_a_rival_is_negative() -> None:
    network, image = TwoClasses(), coloured()
    found = SoftmaxGradientLRP(network).attribute(image, 0)
    torch.testing.assert_close(found.sum(), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(found, -SoftmaxGradientLRP(network).attribute(image, 1))
    assert found.amax() > 0


def test_a_softmax_that_is_almost_sure_leaves_something() -> None:
    network, images = Dense().float(), small_images().float()
    with torch.no_grad():
        network.head.bias[2] += 40  # 1 - p is 0 in float32, and the other probabilities are not
    found = SoftmaxGradientLRP(network).attribute(images, 2)
    expected = SoftmaxGradientLRP(Dense()).attribute(small_images(), 2)
    assert (found.flatten(1).abs().amax(1) > 0).all()
    for a, b in zip(found.double(), expected, strict=True):
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.999


@pytest.mark.filterwarnings("ignore:.*probabilit")
def test_classes_that_do_not_exclude_each_other_have_no_rivals() -> None:
    network, images = nn.Sequential(Dense(), nn.Sigmoid()).eval(), small_images()
    p = network(images)[:, 1].detach()[:, None, None]
    found = SoftmaxGradientLRP(network).attribute(images, 1)
    torch.testing.assert_close(found, LRP(network, start="one").attribute(images, 1).sum(1) * p * (1 - p))


@pytest.mark.parametrize("rule", ["z_plus", "gamma", "gamma_top"])
@pytest.mark.parametrize("make", [small_resnet, small_vgg])
def test_the_last_layer_negated_is_that_of_a_network_with_negated_weights(make: Any, rule: str) -> None:
    network, images = make(), seeded_images()
    twin = make()
    head = next(module for module in twin.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        head.weight.neg_()
        head.bias.neg_()
    p = network(images).softmax(1).gather(1, TARGET[:, None]).detach()

    def start(output: Tensor) -> Tensor:
        return torch.zeros_like(output).scatter(1, TARGET[:, None], p)

    rules = {"classifier" if make is small_vgg else "fc": "z_plus", "*": rule}
    own, contrary = (LRP(each, rule=rules).attribute(images, start) for each in (network, twin))
    found = ContrastiveLRP(network, "negated", rule=rule).attribute(images, TARGET)
    assert found.sum() > 0.01 * p.sum()
    torch.testing.assert_close(found, (own - contrary).relu().sum(1))


def test_a_network_without_a_layer_to_negate_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double().eval()
    with pytest.raises(InputError, match="no layer with weights after its first"):
        ContrastiveLRP(network, "negated").attribute(small_images(), 1)


@pytest.mark.parametrize("method", [ContrastiveLRP, SoftmaxGradientLRP, partial(ClassCompetition, base=LRP)])
def test_smoothed_on_the_image(method: Any) -> None:
    network, images = small_resnet(), seeded_images()
    sharp, smooth = (method(network, smoothing=each).attribute(images, TARGET) for each in (None, 0.1))
    torch.testing.assert_close(smooth, on_the_image(sharp, (64, 64), 0.1))


# --- Class competition ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [RelevancePyramid, GradCAM, InputXGradient, LRP])
def test_without_rivals_the_map_is_the_bases(base: Any) -> None:
    network, images = small_resnet(), seeded_images()
    found = ClassCompetition(network, base, rivals=0).attribute(images, TARGET)
    expected = base(network).attribute(images, TARGET)
    assert torch.equal(found, expected.sum(1) if expected.ndim == 4 else expected)


@pytest.mark.parametrize("by", ["difference", "softmax"])
@pytest.mark.parametrize("base", [RelevancePyramid, InputXGradient])
def test_the_sum_is_the_bases_and_the_rivals_are_the_strongest(base: Any, by: Any) -> None:
    network, images = small_resnet(), seeded_images()
    found = ClassCompetition(network, base, rivals=2, by=by).attribute(images, TARGET)
    maps = []
    for n, image in enumerate(images):
        ranked = network(image[None])[0].argsort(descending=True).tolist()
        rivals = [c for c in ranked if c != TARGET[n]][:2]
        each = [base(network).attribute(image[None], c) for c in (int(TARGET[n]), *rivals)]
        maps.append(torch.cat([one.sum(1) if one.ndim == 4 else one for one in each]))
    torch.testing.assert_close(found, competition(torch.stack(maps, 1), by))
    own = torch.stack(maps, 1)[0]
    torch.testing.assert_close(found.sum((1, 2)), own.sum((1, 2)))
    torch.testing.assert_close(found.clamp(max=0), own.clamp(max=0), rtol=1e-6, atol=1e-12)
    assert (found != own).any()


def test_competition_is_its_definition() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 2, 5, 4))
    for by in ("difference", "softmax"):
        found = competition(torch.from_numpy(maps), by)  # type: ignore[arg-type]
        for n in range(2):
            shares = np.maximum(maps[:, n], 0)
            total = shares[0].sum()
            shares = shares / shares.sum((1, 2), keepdims=True)
            if by == "difference":
                left = np.maximum(shares[0] - np.maximum(shares[1], shares[2]), 0)
            else:
                powers = np.exp(10 * shares / shares.max())
                won = powers[0] / powers.sum(0)
                left = shares[0] * won * (won > 1 / 3)
            expected = left / left.sum() * total + np.minimum(maps[0, n], 0)
            np.testing.assert_allclose(found[n].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_a_class_is_not_favoured_by_a_larger_map() -> None:
    maps = torch.rand(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    louder = maps * torch.tensor([1.0, 50.0, 1e-3], dtype=torch.float64).reshape(3, 1, 1, 1)
    for by in ("difference", "softmax"):
        torch.testing.assert_close(competition(louder, by), competition(maps, by))  # type: ignore[arg-type]


def test_a_map_that_knows_no_class_is_flat_and_that_is_said() -> None:
    network, images = small_resnet(), seeded_images()
    with pytest.warns(UserWarning, match="class_competition: no position .* image 0, 1, 2 of the batch: flat map"):
        found = ClassCompetition(network, Center).attribute(images, TARGET)
    expected = Center(network).attribute(images).mean((1, 2), keepdim=True)
    torch.testing.assert_close(found, expected.expand_as(found))


def test_a_base_without_a_map_leaves_none() -> None:
    network = small_vgg()
    with torch.no_grad():
        network.classifier.weight[1] = -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ClassCompetition(network, GradCAM).attribute(seeded_images(), 1)
    assert found.count_nonzero() == 0


def test_no_more_rivals_than_there_are() -> None:
    network, images = small_resnet(), seeded_images()
    all_there_are, more = (ClassCompetition(network, GradCAM, rivals=n).attribute(images, 1) for n in (4, 9))
    assert torch.equal(all_there_are, more)
    assert ClassCompetition(network, GradCAM, rivals=4).forward_equivalents == 6
    with pytest.raises(InputError, match="rivals must be"):
        ClassCompetition(network, GradCAM, rivals=-1)


def test_what_the_output_holds_is_told_to_the_base() -> None:
    network = nn.Sequential(Dense(), nn.Softmax(1)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ClassCompetition(network, LRP, scores="probabilities").attribute(small_images(), 1)


# --- Gradients at every resolution ----------------------------------------------------------------------------------


def test_gradients_at_every_resolution_of_a_resnet() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = resnet18(num_classes=5).double().eval()
    images = seeded_images(3, 64)
    x = images.clone().requires_grad_()
    stem = network.relu(network.bn1(network.conv1(x)))
    values = [x, stem, network.layer1(network.maxpool(stem))]
    for layer in (network.layer2, network.layer3, network.layer4):
        values.append(layer(values[-1]))
    log_p = F.log_softmax(network.fc(values[-1].mean((2, 3))), 1).gather(1, TARGET[:, None])
    expected = torch.zeros(3, 64, 64, dtype=torch.float64)
    for value, gradient in zip(values, torch.autograd.grad(log_p.sum(), values), strict=True):
        net = (value * gradient).sum(1).relu().detach()
        expected += on_the_image(net / net.sum((1, 2), keepdim=True), (64, 64), 0.05) / len(values)
    p = log_p.detach().exp()[:, :, None]
    found = GradientPyramid(network, smoothing=0.05).attribute(images, TARGET)
    torch.testing.assert_close(found, expected * p)


@pytest.mark.parametrize("make", [resnet18, mobilenet_v2, efficientnet_b0, vgg11, densenet121])
def test_gradients_are_taken_where_lrp_reads_relevance(make: Any) -> None:
    network, images = make(num_classes=5).eval(), seeded_images(1, 64).float()
    stages = LRP(network).attribute(images, 1, at="all")
    network.requires_grad_(False)
    variable = images.clone().requires_grad_()
    given = variable.clone()
    with KeptValues() as kept:
        output = network(given)
    found = contributions(output, output[:, 1].sum(), kept.by_node(), variable)
    assert [each.shape for each in found] == [stage.shape for stage in reversed(stages.values())]


def test_gradients_of_a_value_that_is_written_over_in_place() -> None:
    class InPlace(nn.Module):
        def __init__(self, in_place: bool) -> None:
            super().__init__()
            self.in_place = in_place
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                self.conv, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 5)
            self.double().eval()

        def forward(self, images: Tensor) -> Tensor:
            h = self.conv(images)
            h = F.relu_(h.mul_(2)) if self.in_place else F.relu(h * 2)
            return self.head(h.mean((2, 3)))

    images = seeded_images(2, 33)
    found, expected = (GradientPyramid(InPlace(each)).attribute(images, 1) for each in (True, False))
    torch.testing.assert_close(found, expected)


def test_where_no_position_speaks_for_the_class_the_map_is_flat_and_that_is_said() -> None:
    network, image = TwoClasses(), coloured()
    image[:, 1:] = 0
    with pytest.warns(UserWarning, match="gradient_pyramid: no position speaks for the class in image 0"):
        found = GradientPyramid(network).attribute(image, 1)
    expected = network(image).softmax(1)[0, 1].detach() / 64
    torch.testing.assert_close(found, expected.expand_as(found))


def test_a_class_that_is_all_but_certain_has_a_map() -> None:
    network, image = TwoClasses().float(), coloured().float()
    sharp = TwoClasses().float()
    with torch.no_grad():
        sharp.head.weight.mul_(1000)
    image[:, 1] *= 0.2
    assert float(sharp(image).detach().softmax(1)[0, 0]) == 1
    found, expected = (GradientPyramid(each).attribute(image, 0) for each in (sharp, network))
    torch.testing.assert_close(found / found.sum(), expected / expected.sum())
