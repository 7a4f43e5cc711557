"""How ``LRP.attribute`` behaves towards its caller: inputs, targets, state, threads, memory, errors."""

import copy
import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from residual_networks import images, small_resnet
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.lrp import UnsupportedModelError


def test_targets() -> None:
    model, x = small_resnet(), images(3)
    lrp = LRP(model)
    predicted = model(x).argmax(1)
    assert torch.equal(lrp.attribute(x), lrp.attribute(x, predicted))
    assert torch.equal(lrp.attribute(x, 3), lrp.attribute(x, torch.tensor([3, 3, 3])))
    assert not torch.allclose(lrp.attribute(x, 3), lrp.attribute(x, 4))


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_callers_gradient_mode_does_not_matter(guard: type) -> None:
    model, x = small_resnet(), images()
    expected = LRP(model).attribute(x)
    with guard():
        found = LRP(model).attribute(images())
    assert torch.equal(found, expected)
    assert not found.requires_grad


def test_model_is_left_as_it_was() -> None:
    model = small_resnet().train()
    model.conv1.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    relevance = LRP(model).attribute(images())
    assert model.training
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert torch.equal(relevance, LRP(model.eval()).attribute(images()))


def test_weights_changed_in_place_are_seen() -> None:
    model, x = small_resnet(), images()
    lrp = LRP(model)
    lrp.attribute(x)
    with torch.no_grad():
        model.layer1[0].conv2.weight.mul_(-1)
    model.fc.weight.data[:, ::2] *= -3
    assert torch.equal(lrp.attribute(x), LRP(model).attribute(x))


def test_exchanged_module_is_seen() -> None:
    model, x = small_resnet(), images()
    lrp = LRP(model)
    lrp.attribute(x)
    model.fc = nn.Linear(model.fc.in_features, 10)
    assert torch.equal(lrp.attribute(x), LRP(model).attribute(x))


def test_threads_share_one_object() -> None:
    lrp = LRP(small_resnet())
    batches = [images(2, 33, seed) for seed in range(6)]
    expected = [lrp.attribute(batch) for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lrp.attribute, batches * 2))
    assert all(torch.equal(a, b) for a, b in zip(found, expected * 2, strict=True))


def test_200_calls_leave_no_tensors_behind() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    lrp, x = LRP(model), images(1, 8)
    lrp.attribute(x, return_sums=True)

    def living() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    before = living()
    for _ in range(200):
        lrp.attribute(x, return_sums=True)
    assert living() <= before


def test_float64_and_autocast() -> None:
    model, x = small_resnet(), images()
    single = LRP(model).attribute(x)
    double = LRP(copy.deepcopy(model).double()).attribute(x.double())
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, rtol=1e-3, atol=1e-7)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, sums = LRP(model).attribute(x, return_sums=True)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed.flatten(1).sum(1), sums["output"], rtol=1e-4)


def test_functional_calls_shared_modules_and_index_maps() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
            self.act = nn.ReLU(inplace=True)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Linear(8 * 4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.one(nn.functional.pad(x, (1, 1, 1, 1))))
            y = torch.cat([self.act(self.two(x))[:, :4], x[:, 4:]], 1)
            y += x
            y = torch.nn.functional.adaptive_avg_pool2d(self.drop(torch.relu_(y)), (2, 2))
            return self.head(torch.flatten(y, 1))

    model = Functional()
    relevance, sums = LRP(model).attribute(images(2, 9), return_sums=True)
    assert torch.allclose(relevance.flatten(1).sum(1), sums["output"], rtol=1e-5)


def test_control_flow_with_and_without_a_rule_of_its_own() -> None:
    class Clip(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(max=float(x.max()) + 1) if float(x.sum()) > 0 else x

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Clip(), nn.Flatten(), nn.Linear(4 * 36, 3))
    for leaves in ({}, {Clip: "pass"}):
        relevance, sums = LRP(model, leaves=leaves).attribute(images(1, 8), return_sums=True)  # type: ignore[arg-type]
        assert torch.allclose(relevance.flatten(1).sum(1), sums["output"], rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (images()[0], "single input of shape .3, 33, 33. is inputs.None."),
        (torch.zeros(2, 4, 33, 33), "does not accept shape"),
        (torch.zeros(2, 3, 33, 33, dtype=torch.int64), "floating point"),
        (torch.zeros(0, 3, 33, 33), "empty"),
        (torch.full((1, 3, 33, 33), float("nan")), "NaN"),
        ("bird.jpg", "expected a tensor"),
    ],
)
def test_images_that_cannot_be_used(given: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(small_resnet()).attribute(given)  # type: ignore[call-overload]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("target", [10, -1, 1.5, torch.tensor([1]), torch.tensor([0.0, 1.0]), torch.tensor([0, 99])])
def test_targets_that_cannot_be_used(target: object) -> None:
    with pytest.raises(InputError, match="target"):
        LRP(small_resnet()).attribute(images(), target)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "options",
    [
        {"split": "thirds"},
        {"rule": "zz"},
        {"input_rule": "twos"},
        {"max_pool": "median"},
        {"stabilizer": -1.0},
        {"start": "margin"},
        {"split": object()},
        {"rule": {"nowhere": "z_plus"}},
    ],
)
def test_options_that_do_not_exist(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        LRP(small_resnet(), **options)  # type: ignore[arg-type]


def test_models_that_cannot_be_used() -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).real.mean((2, 3))

    with pytest.raises(UnsupportedModelError, match="has no relevance rule"):
        LRP(Strange()).attribute(images())
    with pytest.raises(InputError, match="logits or probabilities"):
        LRP(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())).attribute(images())
    with pytest.raises(InputError, match="Module"):
        LRP("resnet50")  # type: ignore[arg-type]


def test_a_model_that_views_its_features_takes_any_batch() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)
            self.classifier = nn.Linear(4 * 30 * 30, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.convolution(x).relu()
            return self.classifier(x.view(x.size(0), -1))

    torch.manual_seed(0)
    lrp, batch = LRP(Viewing()), torch.randn(4, 3, 32, 32)
    relevance = lrp.attribute(batch)
    assert relevance.is_contiguous()
    single = torch.cat([lrp.attribute(image[None]) for image in batch])
    assert torch.allclose(relevance, single, rtol=1e-4, atol=1e-8)


class Pooled(nn.Module):
    """Untraceable for its control flow; relies on contiguous features, wherever they come from."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        if float(x.abs().sum()) < 0:
            raise AssertionError
        return x + skip.view(skip.shape[0], -1).reshape(skip.shape)


class Gated(nn.Module):
    """A leaf called by keyword with two features, and one that only makes a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.pooled = Pooled()
        self.gate = Pooled()
        self.classifier = nn.Linear(4, 5)

    def forward(self, image: Tensor) -> Tensor:
        h = self.first(image).relu()
        h = self.pooled(x=self.second(h).relu(), skip=h)
        h = h * torch.sigmoid(self.gate(h, h))
        return self.classifier(h.mean((2, 3)))


def test_leaves_take_keywords_and_any_batch() -> None:
    torch.manual_seed(0)
    lrp = LRP(Gated(), leaves={Pooled: "pass"})
    batch = torch.randn(4, 3, 12, 12)
    single = torch.cat([lrp.attribute(image[None]) for image in batch])
    assert torch.allclose(lrp.attribute(batch), single, rtol=1e-4, atol=1e-7)


def test_what_a_module_caches_stays_its_own() -> None:
    """As timm's position biases: computed in the first forward pass, kept in a dictionary."""

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.cache: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x).relu()
            if "mean" not in self.cache:
                self.cache["mean"] = h.mean((2, 3))
            return self.cache["mean"]

    model = Caching()
    relevance, sums = LRP(model).attribute(images(1), return_sums=True)
    assert torch.allclose(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-5)
    assert model.cache == {}


def addcmul(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Not torch's: it cannot be traced, and leaves its input as it is."""
    return x if float(x.sum()) < float("inf") else first * second


def test_a_users_function_with_the_name_of_one_of_torchs_keeps_its_rule() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x).relu()
            return addcmul(h, h, h).mean((2, 3))

    torch.manual_seed(0)
    model = Named()
    relevance, sums = LRP(model, leaves={addcmul: "pass"}).attribute(images(1), return_sums=True)
    torch.testing.assert_close(sums["output"], model(images(1)).softmax(1).amax(1).detach())
    torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-5, atol=0)


def test_says_its_options() -> None:
    said = repr(LRP(small_resnet(), "symmetric", rule={"layer1": "epsilon", "*": "z_plus"}, stabilizer=1e-5))
    assert said == (
        "LRP(ResNet, split='symmetric', include_identity=True, rule={'layer1': 'epsilon', '*': 'z_plus'}, "
        "input_rule='ones', max_pool='average', stabilizer=1e-05, start='probability', "
        "against='rivals', signed=False, leaves=None, attention='ratio', output=None, scores='auto')"
    )
