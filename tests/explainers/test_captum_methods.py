"""The captum methods against captum by hand, hand-written backward passes and the identities they must fulfil."""

import copy
import warnings
from typing import Any

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from small_networks import seeded_images, small_resnet, small_vgg
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, resnet101

from relsplit.errors import InputError
from relsplit.explainers.deeplift import DeepLift
from relsplit.explainers.guided_backprop import GuidedBackprop
from relsplit.explainers.input_x_gradient import InputXGradient
from relsplit.explainers.integrated_gradients import IntegratedGradients
from relsplit.explainers.lrp_epsilon import LRPEpsilon
from relsplit.explainers.smooth_grad import SmoothGrad

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TARGET = torch.tensor([4, 0, 2])


def score(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images).gather(1, TARGET[:, None])[:, 0]


def gradient(network: nn.Module, images: Tensor) -> Tensor:
    inputs = images.clone().requires_grad_()
    (result,) = torch.autograd.grad(network(inputs).gather(1, TARGET[:, None]).sum(), inputs)
    return result


def per_image(attribution: Tensor) -> Tensor:
    return attribution.flatten(1).sum(dim=1)


class FunctionalResNet(nn.Module):
    """Only functional ReLU, pooling and addition; dropout and identity modules; one convolution used twice."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.stem = nn.Conv2d(3, 6, 3, padding=1)
            self.twice = nn.Conv2d(6, 6, 3, padding=1)
            self.nothing = nn.Identity()
            self.dropout = nn.Dropout(0.5)
            self.head = nn.Linear(6, 5)
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.max_pool2d(F.relu(self.stem(images)), 3, stride=2, padding=1)
        hidden = torch.relu(torch.add(self.twice(hidden).relu(), hidden))
        hidden = self.nothing(self.twice(hidden) + hidden).relu_()
        return self.head(self.dropout(F.adaptive_avg_pool2d(hidden, 1)).flatten(1))


NETWORKS = {
    "bottleneck": lambda: small_resnet(Bottleneck),
    "basic_block": lambda: small_resnet(BasicBlock),
    "vgg": small_vgg,
    "functional": FunctionalResNet,
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Any:
    return NETWORKS[request.param]()


@pytest.mark.parametrize(
    ("variant", "last", "words"),
    [
        ("published", nn.Flatten(), 'no rule for modules like Flatten: use variant="correct"'),
        ("correct", nn.GELU(), r"no rule for modules like GELU: use relsplit.LRP\(model, rule="),
    ],
)
def test_a_module_that_captum_has_no_rule_for(variant: Any, last: nn.Module, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRPEpsilon(nn.Sequential(nn.Linear(4, 3), last), variant=variant).attribute(torch.ones(2, 4), 1)
    assert "\n" not in str(error.value)


def test_input_x_gradient_is_that(network: nn.Module) -> None:
    images = seeded_images()
    found = InputXGradient(network).attribute(images, TARGET)
    torch.testing.assert_close(found, images * gradient(network, images))
    torch.testing.assert_close(found, captum.attr.InputXGradient(network).attribute(images.clone(), TARGET))
    probability = InputXGradient(network, score="probability").attribute(images, TARGET)
    torch.testing.assert_close(
        probability, images * gradient(nn.Sequential(network, nn.Softmax(dim=1)), images), atol=1e-12, rtol=1e-6
    )


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("baseline", ["mean", "black", -2.0, [0.5, -1.0, 2.0]])
def test_deeplift_is_complete(network: nn.Module, baseline: Any, scale: float) -> None:
    images = scale * seeded_images()
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    colour = {"mean": [0.0] * 3, "black": [-2.0] * 3, -2.0: [-2.0] * 3}.get(str(baseline), baseline)
    colour = [-2.0] * 3 if baseline == -2.0 else colour
    reference = torch.tensor(colour, dtype=torch.float64)[:, None, None].expand_as(images)
    images[1, :, :40] = reference[1, :, :40]  # a region that is the baseline: nothing changes there
    found = DeepLift(network, baseline, mean, std).attribute(images, TARGET)
    torch.testing.assert_close(per_image(found), score(network, images) - score(network, reference))
    assert not found[1, :, :40].any()


def test_deeplift_equals_captum_where_captum_is_right() -> None:
    # No shared module, no ReLU right before the pooling, windows that do not overlap.
    pooling, images = (nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)), seeded_images()
    network = nn.Sequential(*pooling, nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    found = DeepLift(network).attribute(images, TARGET)
    by_hand = captum.attr.DeepLift(copy.deepcopy(network)).attribute(images.clone(), target=TARGET)
    torch.testing.assert_close(found, by_hand)


def test_captum_deeplift_alone_fails_on_a_resnet() -> None:
    images = seeded_images()
    with pytest.raises(RuntimeError, match="used more than once"):
        captum.attr.DeepLift(small_resnet()).attribute(images, target=TARGET)
    pool = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(3 * 32 * 32, 5)).double()
    method = captum.attr.DeepLift(pool)
    _, missing = method.attribute(images.clone(), target=TARGET, return_convergence_delta=True)
    assert missing.abs().min() > 1e-3  # overlapping windows that share a maximum
    change = score(pool, images) - score(pool, torch.zeros_like(images))
    torch.testing.assert_close(per_image(DeepLift(pool).attribute(images, TARGET)), change)


@pytest.mark.parametrize("activation", [nn.GELU, nn.ReLU6, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Hardswish, nn.LeakyReLU])
def test_deeplift_has_a_rule_for_every_elementwise_activation(activation: type[nn.Module]) -> None:
    network, images = small_vgg(activation), 3 * seeded_images()
    found = DeepLift(network).attribute(images, TARGET)
    change = score(network, images) - score(network, torch.zeros_like(images))
    torch.testing.assert_close(per_image(found), change)


class Squared(nn.Module):
    """A product of two features."""

    def forward(self, images: Tensor) -> Tensor:
        return images * images


def test_deeplift_refuses_steps_without_a_rule() -> None:
    with pytest.raises(InputError, match="without a DeepLIFT rule") as caught:
        DeepLift(small_vgg(Squared)).attribute(3 * seeded_images(), TARGET)
    assert "\n" not in str(caught.value)


def test_integrated_gradients_become_complete_and_equal_captum(network: nn.Module) -> None:
    images = seeded_images()
    change = score(network, images) - score(network, torch.zeros_like(images))
    errors = []
    for steps in (2, 10, 100):
        found = IntegratedGradients(network, steps=steps, batch_size=100).attribute(images, TARGET)
        errors.append(float((per_image(found) - change).abs().max()))
        if steps == 10:
            by_hand = captum.attr.IntegratedGradients(network).attribute(images, target=TARGET, n_steps=10)
            torch.testing.assert_close(found, by_hand)
    assert errors[-1] < errors[0] / 3
    assert errors[-1] < 0.02 * change.abs().max()


def guided_backward(network: nn.Module, images: Tensor) -> Tensor:
    """torchvision ResNet layer by layer, with a hand-written backward pass that clips at each ReLU."""

    class ClippedReLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: Tensor) -> Tensor:
            ctx.save_for_backward(inputs)
            return inputs.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            (inputs,) = ctx.saved_tensors
            return gradients[0].clamp(min=0) * (inputs > 0)

    net: Any = network
    inputs = images.clone().requires_grad_()
    hidden = net.maxpool(ClippedReLU.apply(net.bn1(net.conv1(inputs))))
    for block in (*net.layer1, *net.layer2, *net.layer3, *net.layer4):
        skip = hidden if block.downsample is None else block.downsample(hidden)
        branch = ClippedReLU.apply(block.bn1(block.conv1(hidden)))
        branch = block.bn2(block.conv2(branch))
        if hasattr(block, "conv3"):
            branch = block.bn3(block.conv3(ClippedReLU.apply(branch)))
        hidden = ClippedReLU.apply(branch + skip)
    logits = net.fc(net.avgpool(hidden).flatten(1))
    (result,) = torch.autograd.grad(logits.gather(1, TARGET[:, None]).sum(), inputs)
    return result


@pytest.mark.parametrize("block", [Bottleneck, BasicBlock])
def test_guided_backprop_equals_a_hand_written_backward_pass(block: Any) -> None:
    network, images = small_resnet(block), seeded_images()
    found = GuidedBackprop(network).attribute(images, TARGET)
    torch.testing.assert_close(found, guided_backward(network, images))
    # The published run of captum on the unmodified network was right in this case.
    torch.testing.assert_close(found, captum.attr.GuidedBackprop(copy.deepcopy(network)).attribute(images, TARGET))


def test_guided_backprop_sees_functional_relus_and_refuses_networks_without() -> None:
    network, images = FunctionalResNet(), seeded_images()
    found = GuidedBackprop(network).attribute(images, TARGET)
    assert not torch.allclose(found, gradient(network, images))
    unseen = captum.attr.GuidedBackprop(copy.deepcopy(network)).attribute(images.clone(), TARGET)
    torch.testing.assert_close(unseen, gradient(network, images))
    with pytest.raises(InputError, match="has none"):
        GuidedBackprop(small_vgg(nn.ReLU6)).attribute(images, TARGET)


def test_lrp_epsilon_correct_equals_input_x_gradient(network: nn.Module) -> None:
    images = seeded_images()
    found = LRPEpsilon(network, variant="correct").attribute(images, TARGET)
    expected = InputXGradient(network).attribute(images, TARGET)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=3e-4 * float(expected.abs().max()))


def test_lrp_epsilon_published_goes_on_in_float64_where_float32_overflows() -> None:
    torch.manual_seed(0)
    network = resnet101(weights=None, num_classes=5).eval()
    images = torch.randn(1, 3, 32, 32)
    relevance = LRPEpsilon(network, variant="published").attribute(images, 3)
    expected = LRPEpsilon(copy.deepcopy(network).double(), variant="published").attribute(images.double(), 3)
    assert relevance.abs().max() > torch.finfo(torch.float32).max
    torch.testing.assert_close(relevance, expected)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_lrp_epsilon_published_is_captum_on_the_network_as_it_is_and_explodes() -> None:
    network, images = small_resnet(), seeded_images()
    published = LRPEpsilon(network, variant="published").attribute(images, TARGET)
    by_hand = captum.attr.LRP(copy.deepcopy(network)).attribute(images.clone(), TARGET).detach()
    torch.testing.assert_close(published, by_hand, rtol=1e-6, atol=0)
    correct = LRPEpsilon(network, variant="correct").attribute(images, TARGET)
    assert published.abs().sum() > 100 * correct.abs().sum()


def test_lrp_mixture_changes_rule_after_the_block() -> None:
    network, images = small_resnet(), seeded_images()
    epsilon = LRPEpsilon(network, "correct").attribute(images, TARGET)
    none, one, all_ = (
        LRPEpsilon(network, "correct", rule="mixture", blocks=blocks).attribute(images, TARGET) for blocks in (0, 3, 8)
    )
    torch.testing.assert_close(none, epsilon)
    assert not torch.allclose(one, epsilon)
    assert not torch.allclose(one, all_)


def test_smooth_grad_is_the_mean_gradient_and_without_noise_the_gradient() -> None:
    network, images = small_resnet(), seeded_images()
    found = SmoothGrad(network, samples=7, noise=1e-9, batch_size=3).attribute(images, TARGET)
    torch.testing.assert_close(found, gradient(network, images), rtol=1e-4, atol=1e-7)
    noisy, other = (SmoothGrad(network, samples=4, seed=seed).attribute(images, TARGET) for seed in (1, 2))
    assert not torch.allclose(noisy, other)


class Untraceable(nn.Module):
    """Its path depends on the values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_vgg()

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.inner(images if images.mean() > 0 else -images)
        return result


def test_what_has_to_be_traced_refuses_untraceable_networks_in_one_line() -> None:
    with pytest.raises(InputError, match=r"cannot trace Untraceable") as caught:
        LRPEpsilon(Untraceable(), "correct").attribute(seeded_images(1), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [DeepLift, GuidedBackprop, InputXGradient])
def test_whichever_path_a_network_takes_is_explained(method: Any) -> None:
    images = seeded_images(1).abs()
    for sign in (1, -1):
        found = method(Untraceable()).attribute(sign * images, 0)
        expected = method(small_vgg()).attribute(images, 0)
        # The gradient turns around with the image; their product does not.
        torch.testing.assert_close(found, sign * expected if method is GuidedBackprop else expected)


class UsedAfterInPlace(nn.Module):
    """The in-place ReLU changes what the skip connection adds."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.conv, self.relu, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(3, 5)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.conv(images)
        result: Tensor = self.head((self.conv(self.relu(hidden)) + hidden).mean(dim=(2, 3)))
        return result


def test_a_network_that_relies_on_in_place_changes_is_explained_as_it_is_or_refused() -> None:
    network, images = UsedAfterInPlace(), seeded_images()
    found = InputXGradient(network).attribute(images, TARGET)
    torch.testing.assert_close(found, images * gradient(network, images))
    with pytest.raises(InputError, match="in-place") as caught:
        LRPEpsilon(network).attribute(images, TARGET)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda net: IntegratedGradients(net, steps=0), "steps must be"),
        (lambda net: IntegratedGradients(net, batch_size=-1), "batch_size must be"),
        (lambda net: IntegratedGradients(net, method="simpson"), "method must be"),
        (lambda net: IntegratedGradients(net, baseline="white"), "baseline must be"),
        (lambda net: IntegratedGradients(net, baseline=[1.0, 2.0]), "baseline must be"),
        (lambda net: IntegratedGradients(net, baseline="black"), "needs mean and std"),
        (lambda net: SmoothGrad(net, samples=0), "samples must be"),
        (lambda net: SmoothGrad(net, noise=0.0), "noise must be"),
        (lambda net: InputXGradient(net, score="loss"), "score must be"),
        (lambda net: LRPEpsilon(net, variant="wrong"), "variant must be"),
        (lambda net: LRPEpsilon(net, rule="gamma"), "rule must be"),
        (lambda net: LRPEpsilon(net, epsilon=-1.0), "of at least 0"),
    ],
)
def test_wrong_options_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(small_vgg())


def test_lrp_names_a_module_without_a_rule() -> None:
    with pytest.raises(InputError, match="GELU"):
        LRPEpsilon(small_vgg(nn.GELU), "correct").attribute(seeded_images(), TARGET)


def test_calls_are_quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in (DeepLift, GuidedBackprop, InputXGradient, LRPEpsilon):
            method(small_resnet()).attribute(seeded_images(1), 0)
