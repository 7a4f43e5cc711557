"""Explainers of signals, volumes, tokens and several inputs: by captum, by the same numbers as images, by hand."""

import warnings
from functools import partial
from typing import Any

import captum.attr
import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers import (
    RISE,
    AbsLRP,
    Center,
    ClassCompetition,
    ContrastiveLRP,
    DeepLift,
    Edges,
    GradCAM,
    GradCAMPlusPlus,
    GuidedBackprop,
    HiResCAM,
    InputXGradient,
    IntegratedGradients,
    LayerCAM,
    LRPEpsilon,
    OnePixel,
    RandomMap,
    RelevancePyramid,
    ScoreCAM,
    SmoothGrad,
    SoftmaxGradientLRP,
)
from relsplit.explainers.relevance_pyramid import LRP
from relsplit.networks.named_layers import last_spatial_layer
from relsplit.targets import Pixels, Value

CLASSES = torch.tensor([2, 0])


class Net(nn.Module):
    """A small network of signals, images or volumes, by its number of axes."""

    def __init__(self, axes: int, dense: bool = False) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes]
        norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[axes]
        pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[axes]
        kernel: Any = (1, 3) if axes == 2 else 3
        padding: Any = (0, 1) if axes == 2 else 1
        window: Any = (1, 2) if axes == 2 else 2
        self.conv1 = conv(2, 6, kernel, padding=padding)
        self.norm, self.relu1, self.pool = norm(6), nn.ReLU(), pool(window)
        self.conv2, self.relu2 = conv(6, 8, kernel, padding=padding), nn.ReLU()
        self.scores = conv(8, 3, 1)
        self.head = nn.Linear(8, 3)
        self.is_dense = dense

    def forward(self, x: Tensor) -> Tensor:
        features = self.relu2(self.conv2(self.pool(self.relu1(self.norm(self.conv1(x))))))
        return self.scores(features) if self.is_dense else self.head(features.flatten(2).mean(2))


def made(make: Any, *options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make(*options)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean = torch.linspace(-0.3, 0.3, 6)
            module.running_var = torch.linspace(0.5, 2, 6)
    return network.double().eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def as_images() -> Any:
    """The network of signals as one of images of one row."""
    signals, images = made(Net, 1), made(Net, 2)
    state = {name: value.unsqueeze(2) if value.dim() == 3 else value for name, value in signals.state_dict().items()}
    images.load_state_dict(state)
    return signals, images


@pytest.mark.parametrize("options", [
    (InputXGradient, {}), (GuidedBackprop, {}), (IntegratedGradients, {"steps": 6}), (DeepLift, {}),
    (IntegratedGradients, {"steps": 6, "baseline": 0.5}), (LRPEpsilon, {}), (LRPEpsilon, {"variant": "correct"}),
    (AbsLRP, {}), (ContrastiveLRP, {}), (ContrastiveLRP, {"dual": "negated"}), (SoftmaxGradientLRP, {}),
    (ClassCompetition, {"base": LRP, "rivals": 1}),
], ids=lambda options: f"{options[0].__name__}{options[1]}")  # fmt: skip
def test_a_signal_is_an_image_of_one_row(options: Any) -> None:
    method, options = options
    signals, images = as_images()
    x = drawn(2, 2, 24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = method(images, **options).attribute(x[:, :, None], CLASSES)
        found = method(signals, **options).attribute(x, CLASSES)
    assert found.shape in (x.shape, x[:, 0].shape)
    torch.testing.assert_close(found, expected.reshape(found.shape), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("axes", [1, 3])
def test_gradients_and_differences_are_captums(axes: int) -> None:
    model, x = made(Net, axes), drawn(2, 2, *(4, 6, 8)[3 - axes :])
    model.pool = (nn.AvgPool1d if axes == 1 else nn.AvgPool3d)(2)  # captum misses a ReLU right before a max pooling
    for found, peer, further in (
        (InputXGradient(model), captum.attr.InputXGradient(model), {}),
        (GuidedBackprop(model), captum.attr.GuidedBackprop(model), {}),
        (IntegratedGradients(model, steps=8), captum.attr.IntegratedGradients(model), {"n_steps": 8}),
        (DeepLift(model), captum.attr.DeepLift(model), {}),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum's own
            expected = peer.attribute(x, target=CLASSES, **further).detach()  # type: ignore[attr-defined]
        torch.testing.assert_close(found.attribute(x, CLASSES), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("method", [GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM])
def test_cams_of_signals_and_volumes(method: Any, axes: int) -> None:
    model, x = made(Net, axes), drawn(2, 2, *(8, 12, 16)[3 - axes :])
    assert last_spatial_layer(model, x) is model.relu2
    features: list[Tensor] = []
    handle = model.relu2.register_forward_hook(lambda module, given, output: features.append(output))
    (gradient,) = torch.autograd.grad(model(x).gather(1, CLASSES[:, None]).sum(), features[0:1] or features)
    handle.remove()
    activation = features[0].detach()
    maps = {
        GradCAM: lambda: (gradient.flatten(2).mean(2).reshape(2, 8, *[1] * axes) * activation).sum(1),
        HiResCAM: lambda: (gradient * activation).sum(1),
        LayerCAM: lambda: (gradient.clamp(min=0) * activation).sum(1),
        # The gradient of a mean is the same at all places, so that its shares are.
        GradCAMPlusPlus: lambda: (method.combine(activation, gradient)),
    }[method]().clamp(min=0)  # fmt: skip
    lows = maps.flatten(1).amin(1).reshape(-1, *[1] * axes)
    highs = maps.flatten(1).amax(1).reshape(-1, *[1] * axes)
    scaled = (maps - lows) / (highs - lows).clamp(min=1e-30)
    up = F.interpolate(scaled[:, None], size=x.shape[2:], mode="linear" if axes == 1 else "trilinear")[:, 0]
    highs, lows = (getattr(up.flatten(1), name)(1).reshape(-1, *[1] * axes) for name in ("amax", "amin"))
    expected = (up - lows) / (highs - lows).clamp(min=1e-30)
    found = method(model).attribute(x, CLASSES)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    assert found.flatten(1).amax(1).max() == 1


class OverTime(nn.Module):
    """Linear layers over the steps of a signal: the steps lie in rows, the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.act, self.head = nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.inner(x.transpose(1, 2))).mean(1))


def test_steps_in_rows_are_told_from_steps_in_columns() -> None:
    """Of (N, 24, 8) and (N, 8, 24) either could hold a signal of 24 steps: the layers tell."""
    model, x = made(OverTime), drawn(2, 2, 24)
    model.head.weight.data.abs_()
    maps = HiResCAM(model).attribute(x, CLASSES)
    inner = torch.relu(model.inner(x.transpose(1, 2)))
    expected = (inner * model.head.weight[CLASSES][:, None]).sum(2).detach()
    expected = expected - expected.amin(1, keepdim=True)
    torch.testing.assert_close(maps, expected / expected.amax(1, keepdim=True), rtol=1e-6, atol=1e-8)


def test_a_cam_of_a_dense_output_is_of_the_features() -> None:
    image = made(
        nn.Sequential, nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 1), nn.Upsample(scale_factor=2)
    )
    assert last_spatial_layer(image, drawn(2, 2, 6, 8)) is image[1]
    for axes in (1, 3):
        model, x = made(Net, axes, True), drawn(2, 2, *(4, 6, 8)[3 - axes :])
        assert last_spatial_layer(model, x) is model.relu2


class Words(nn.Module):
    """A small network of tokens; the embedding is shared with what it says at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(20, 6), nn.Embedding(9, 6)
        self.hidden, self.act, self.head = nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)

    def forward(self, tokens: Tensor, keep: "Tensor | None" = None) -> Tensor:
        vectors = self.embedding(tokens) + self.position(torch.arange(tokens.shape[1]))
        hidden = self.act(self.hidden(vectors))
        return self.head(hidden.mean(1) if keep is None else (hidden * keep[:, :, None]).sum(1))


TOKENS = torch.randint(1, 20, (2, 9), generator=torch.Generator().manual_seed(0))


def test_tokens_by_captums_layers() -> None:
    model = made(Words)
    layer = model.embedding
    for found, peer, further in (
        (IntegratedGradients(model, steps=8, baseline=4), captum.attr.LayerIntegratedGradients, {"n_steps": 8}),
        (DeepLift(model, baseline=4), captum.attr.LayerDeepLift, {}),
    ):
        expected = peer(model, layer).attribute(TOKENS, torch.full_like(TOKENS, 4), target=CLASSES, **further)
        torch.testing.assert_close(found.attribute(TOKENS, CLASSES), expected.sum(2).detach(), rtol=1e-5, atol=1e-8)
    expected = captum.attr.LayerGradientXActivation(model, layer).attribute(TOKENS, target=CLASSES)
    torch.testing.assert_close(InputXGradient(model).attribute(TOKENS, CLASSES), expected.sum(2).detach())


def test_baselines_of_tokens() -> None:
    """What the attributions sum to is the change against each baseline."""
    model, keep = made(Words), (torch.arange(9) < 6).double().expand(2, 9)
    words = model.embedding.weight
    vectors = words[TOKENS].detach()

    def score(instead: Tensor) -> Tensor:
        hidden = model.act(model.hidden(instead + model.position.weight))
        return model.head((hidden * keep[:, :, None]).sum(1)).gather(1, CLASSES[:, None])[:, 0].detach()

    instead = {
        "zero": torch.zeros_like(vectors),
        "mean": words.mean(0).expand_as(vectors),
        7: words[7].expand_as(vectors),
    }
    for baseline, other in instead.items():
        for method in (IntegratedGradients(model, 60, baseline=baseline), DeepLift(model, baseline=baseline)):  # type: ignore[arg-type]
            found = method.attribute(TOKENS, CLASSES, forward_kwargs={"keep": keep})
            torch.testing.assert_close(found.sum(1), score(vectors) - score(other.detach()), rtol=1e-5, atol=1e-7)
            assert not found[:, 6:].any()  # what is not kept has no part


def test_a_language_models_tokens() -> None:
    config = hf.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.BertForSequenceClassification(config).double().eval()
    mask = torch.tensor([[1] * 6 + [0] * 3, [1] * 9])
    found = IntegratedGradients(model, steps=8, baseline=0).attribute(
        TOKENS, CLASSES, forward_kwargs={"attention_mask": mask}
    )
    peer = captum.attr.LayerIntegratedGradients(
        lambda ids: model(ids, attention_mask=mask).logits, model.bert.embeddings.word_embeddings
    )
    expected = peer.attribute(TOKENS, torch.zeros_like(TOKENS), target=CLASSES, n_steps=8, internal_batch_size=2)
    torch.testing.assert_close(found, expected.sum(2).detach(), rtol=1e-4, atol=1e-6)
    assert not found[0, 6:].any()


class Two(nn.Module):
    """An image and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.table, self.head = nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        return self.head(self.act(self.conv(image)).mean((2, 3)) * self.act(self.table(table)))


def test_two_inputs_are_captums() -> None:
    model, given = made(Two), (drawn(2, 2, 6, 6), drawn(2, 5))
    by_name = dict(zip(("image", "table"), given, strict=True))
    for found, peer, further in (
        (InputXGradient(model), captum.attr.InputXGradient(model), {}),
        (IntegratedGradients(model, steps=8), captum.attr.IntegratedGradients(model), {"n_steps": 8}),
    ):
        expected = peer.attribute(given, target=CLASSES, **further)  # type: ignore[attr-defined]
        for one, other in zip(found.attribute(given, CLASSES), expected, strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-8)
        named = found.attribute(by_name, CLASSES)
        assert list(named) == ["image", "table"]
        torch.testing.assert_close(named["table"], expected[1].detach(), rtol=1e-5, atol=1e-8)
    handed_on = InputXGradient(model).attribute(given[0], CLASSES, forward_kwargs={"table": given[1]})
    assert torch.equal(handed_on, InputXGradient(model).attribute(given, CLASSES)[0])


@pytest.mark.parametrize("method", [RISE, ScoreCAM])
def test_a_function_that_is_the_probability_has_the_map_of_the_class(method: Any) -> None:
    model, x = made(Net, 2), drawn(2, 2, 8, 8)
    options: dict[str, Any] = {"samples": 6} if method is RISE else {}
    chosen = F.one_hot(CLASSES, 3)
    found = method(model, **options).attribute(x, lambda output: output.softmax(1) * chosen)
    torch.testing.assert_close(found, method(model, **options).attribute(x, CLASSES), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", ["published", "correct"])
def test_relevance_by_the_epsilon_rule_begins_with_what_the_target_says(variant: Any) -> None:
    model, x = made(Net, 2), drawn(2, 2, 4, 8)
    explainer = LRPEpsilon(model, variant)
    expected = explainer.attribute(x, CLASSES)
    torch.testing.assert_close(explainer.attribute(x, Value(CLASSES)), expected, rtol=1e-9, atol=1e-9)
    thrice = explainer.attribute(x, lambda output: 3 * output * F.one_hot(CLASSES, 3))
    torch.testing.assert_close(thrice, 3 * expected, rtol=1e-9, atol=1e-9)
    dense, place = made(Net, 2, True), Pixels(1, at=(2, 3), score="value")
    found = LRPEpsilon(dense, "correct").attribute(x, place)  # on ReLU networks it is Input x Gradient
    torch.testing.assert_close(found, InputXGradient(dense).attribute(x, place), rtol=1e-5, atol=1e-8)


def test_abs_lrp_begins_with_what_the_target_says() -> None:
    model, x = made(Net, 2), drawn(2, 2, 4, 8)
    explainer = AbsLRP(model, contrastive=False)
    expected = explainer.attribute(x, CLASSES)
    twice = explainer.attribute(x, lambda output: 2 * F.one_hot(CLASSES, 3).to(output))
    torch.testing.assert_close(twice, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(InputError, match="the target is no class: make it with contrastive=False"):
        AbsLRP(model).attribute(x, Value(1))


def test_deeplift_of_a_place_is_captums() -> None:
    model, x = made(Net, 2, True), drawn(2, 2, 4, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = captum.attr.DeepLift(model).attribute(x, target=(1, 2, 3)).detach()
    found = DeepLift(model).attribute(x, Value((1, 2, 3)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


class OneWord(nn.Module):
    """Certain of class 1 as far as the fourth token's vector is there, and looks at no other."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 2)
        nn.init.ones_(self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        there = self.embedding(tokens)[:, 3, 0].clamp(0.01, 0.99)
        return torch.stack([1 - there, there], 1).log()


@pytest.mark.parametrize("make", [partial(RISE, samples=9), partial(IntegratedGradients, steps=2), SmoothGrad], ids=str)
def test_padding_has_nothing(make: Any) -> None:
    class Masked(Words):
        def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
            scores: Tensor = super().forward(ids)  # looks at all of them, whatever the mask says
            return scores

    mask = torch.ones_like(TOKENS)
    mask[1, 5:] = 0
    found = make(made(Masked)).attribute(TOKENS, 1, forward_kwargs={"attention_mask": mask})
    assert torch.equal(found != 0, mask != 0)


def test_rise_masks_tokens() -> None:
    """Only the fourth token counts: the map there is the mean of its mask, squared; it is the highest."""
    maps = RISE(OneWord(), samples=200, cells=9, scores="logits").attribute(TOKENS, 1)
    assert maps.shape == TOKENS.shape
    assert (maps.argmax(1) == 3).all()


def test_controls_of_anything() -> None:
    assert Center(nn.Identity()).attribute(drawn(1, 2, 9)).argmax() == 4
    assert OnePixel(nn.Identity()).attribute(TOKENS).nonzero().tolist() == [[0, 4], [1, 4]]
    volumes = drawn(2, 2, 3, 4, 5)
    first = RandomMap(nn.Identity()).attribute(volumes)
    assert first.shape == (2, 3, 4, 5)
    assert torch.equal(RandomMap(nn.Identity()).attribute(volumes[1:]), first[1:])


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        (GradCAM, TOKENS, r"of one input with places, .* given are shape \(2, 9\), torch.int64"),
        (
            ScoreCAM,
            (drawn(2, 2, 6, 6), drawn(2, 5)),
            "of one input with places, .* hand others on with forward_kwargs=",
        ),
        (LRPEpsilon, TOKENS, "captum has no rule for the embedding of tokens"),
        (AbsLRP, TOKENS, "shares a total of 1 among the entries of one floating point input"),
        (RelevancePyramid, drawn(2, 2, 24), r"images: expected shape \(N, C, H, W\), not \(2, 2, 24\)"),
        (Edges, TOKENS, r"images: expected shape"),
        (Center, (drawn(2, 2, 6, 6), drawn(2, 5)), "a control is of one input"),
        (ClassCompetition, (drawn(2, 2, 6, 6), drawn(2, 5)), "of the positions of one input"),
        (InputXGradient, (drawn(2, 2, 6, 6), drawn(3, 5)), "inputs.0. has 2, inputs.1. has 3"),
        (SmoothGrad, torch.zeros(2, 9).bool(), "expected floating point values, or integers that are tokens"),
    ],
)
def test_what_has_no_meaning_is_one_line(method: Any, given: Any, words: str) -> None:
    model = made(Two) if isinstance(given, tuple) else made(Words) if not given.is_floating_point() else made(Net, 1)
    with pytest.raises(InputError, match=words) as error:
        method(model).attribute(given, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", [InputXGradient, DeepLift])
def test_a_network_that_draws_random_numbers_is_told_so(method: Any) -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = super().forward(x + torch.rand(x.shape, dtype=x.dtype))
            return scores

    with pytest.raises(InputError, match="from one call to the next: its forward pass draws random numbers"):
        method(Noisy(5, 3).double()).attribute(drawn(2, 5), 1)


class Histogram(nn.Module):
    """Counts tokens, and looks none of them up."""

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.stack([(tokens == word).sum(1).float() for word in range(3)], 1)


@pytest.mark.parametrize(
    "method", [LRP, InputXGradient, IntegratedGradients, SmoothGrad, GuidedBackprop, RISE, DeepLift]
)
def test_tokens_without_an_embedding_are_one_line(method: Any) -> None:
    with pytest.raises(InputError, match=r"integers \(2, 9\) pass no nn.Embedding") as error:
        method(Histogram()).attribute(TOKENS, 1)
    assert "\n" not in str(error.value)
