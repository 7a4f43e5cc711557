"""Class evidence conserves, tells classes apart, and lets what speaks for two classes alike cancel out."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from small_networks import randomise, small_resnet
from torch import Tensor, nn

from relsplit import LRP
from relsplit.bench.models.attention_branch import AttentionBranchNetwork
from relsplit.errors import InputError, UnsupportedModelError
from relsplit.explainers import ClassEvidence, GradCAM, GradientPyramid
from relsplit.metrics import randomisation_correlation

SIDE = 64


def seeded(make: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def images(count: int = 2, side: int = SIDE) -> Tensor:
    return seeded(lambda: torch.rand(count, 3, side, side))


def transformer(make: Any, **options: Any) -> nn.Module:
    network = make(num_classes=7, **options)
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.out_features == 7:
            nn.init.normal_(module.weight)  # of torchvision's it is zero
    return network.eval()


NETWORKS = {
    "resnet18": lambda: randomise(torchvision.models.resnet18(num_classes=7)).float(),
    "mobilenet_v2": lambda: randomise(torchvision.models.mobilenet_v2(num_classes=7)).float(),
    "efficientnet_b0": lambda: randomise(torchvision.models.efficientnet_b0(num_classes=7)).float(),
    "vgg11": lambda: torchvision.models.vgg11(num_classes=7, init_weights=False).eval(),
    "densenet121": lambda: randomise(torchvision.models.densenet121(num_classes=7)).float(),
    "vit": lambda: transformer(
        torchvision.models.VisionTransformer,
        image_size=SIDE, patch_size=16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32,
    ),
    "swin_t": lambda: transformer(torchvision.models.swin_t),
    "abn": lambda: randomise(AttentionBranchNetwork(torchvision.models.resnet18(num_classes=7))).float(),
}  # fmt: skip


@pytest.mark.parametrize("at", ["all", "pixels", "features"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_map_sums_to_the_probability(name: str, at: Any) -> None:
    network = seeded(NETWORKS[name])
    output = network(images())
    probabilities = (output if isinstance(output, Tensor) else output[0]).softmax(1).detach()
    flat = []
    for label in range(7):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            maps = ClassEvidence(network, at=at).attribute(images(), label)
        assert maps.shape == (2, SIDE, SIDE)
        torch.testing.assert_close(maps.sum((1, 2)), probabilities[:, label], rtol=1e-5, atol=1e-30)
        flat += (maps.flatten(1).std(1) == 0).tolist()
        assert bool(said) == any(flat[-2:])
    assert not all(flat)


class TwoFeatures(nn.Module):
    """Red speaks for both classes alike, green for class 0, blue for class 1; every pixel is a position."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU())
        self.features[0].weight.data = torch.eye(3)[:, :, None, None].clone()
        self.classify = nn.Linear(3, 2, bias=False)
        self.classify.weight.data = torch.tensor([[4.0, 3.0, 0.0], [4.0, 0.0, 3.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x).mean((2, 3)))


def mosaic() -> Tensor:
    """Red on the left, green in the middle, blue on the right; in the last columns green and blue cancel out."""
    x = torch.zeros(1, 3, 8, 8)
    x[:, 0, :, :2] = x[:, 1, :, 2:4] = x[:, 2, :, 4:6] = 1
    x[:, 1:, :, 6:] = 1
    return x


@pytest.mark.parametrize("against", ["rivals", "strongest", "mean", 1])
def test_what_speaks_for_both_classes_gets_nothing(against: Any) -> None:
    network = TwoFeatures()
    (found,) = ClassEvidence(network, against=against, at="pixels").attribute(mosaic(), 0)
    assert found[:, :2].abs().max() == 0  # red
    assert found[:, 4:].abs().max() == 0  # blue, and where green and blue cancel
    assert (found[:, 2:4] > 0).all()
    (plain,) = LRP(network).attribute(mosaic(), 0).sum(1)
    assert plain[:, :2].sum() > 0.1 * plain.sum()
    assert plain[:, 6:].sum() > 0.1 * plain.sum()


def test_without_a_contrast_what_both_have_counts() -> None:
    (found,) = ClassEvidence(TwoFeatures(), against="none", at="pixels").attribute(mosaic(), 0)
    assert (found[:, :4] > 0).all()
    assert (found[:, 6:] > 0).all()
    assert found[:, 4:6].abs().max() == 0


def test_signed_evidence_is_of_both_signs_and_its_absolute_values_sum_to_the_probability() -> None:
    network = TwoFeatures()
    probability = network(mosaic()).softmax(1)[0]
    (found,) = ClassEvidence(network, signed=True, at="pixels").attribute(mosaic(), 0)
    assert (found[:, 2:4] > 0).all()
    assert (found[:, 4:6] < 0).all()
    assert found[:, :2].abs().max() == found[:, 6:].abs().max() == 0
    torch.testing.assert_close(found.abs().sum(), probability[0].detach())
    # Seen from the rival it is the same with the other sign.
    (other,) = ClassEvidence(network, signed=True, at="pixels").attribute(mosaic(), 1)
    torch.testing.assert_close(other / probability[1], -found / probability[0])


def test_each_class_of_a_mosaic_has_its_cell() -> None:
    network = TwoFeatures()
    for label, columns in ((0, slice(2, 4)), (1, slice(4, 6))):
        (found,) = ClassEvidence(network, at="pixels").attribute(mosaic(), label)
        torch.testing.assert_close(found[:, columns].sum(), found.sum())


def test_what_speaks_for_both_classes_in_overlapping_cells_cancels_out_below_them() -> None:
    """Green, nothing, green and blue, nothing, blue: two cells of three pixels share the middle one."""
    x = torch.zeros(1, 3, 5, 5)
    x[:, 1, :, 0] = x[:, 1:, :, 2] = x[:, 2, :, 4] = 1
    detect = nn.Conv2d(3, 2, 3, stride=2, bias=False)
    classify = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        detect.weight.zero_()[0, 1] = 1
        detect.weight[1, 2] = 1
        classify.weight.copy_(torch.eye(2))
    colours = nn.Conv2d(3, 3, 1, bias=False)  # the first layer's rule replaces the image by ones
    colours.weight.data = torch.eye(3)[:, :, None, None].clone()
    network = nn.Sequential(colours, nn.ReLU(), detect, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), classify)
    (found,) = ClassEvidence(network, at="pixels", rule="z_plus").attribute(x, 0)
    assert (found[:, 0] > 0).all()
    torch.testing.assert_close(found[:, 0].sum(), torch.tensor(0.5))  # p
    assert found[:, 1:].abs().max() < 1e-6
    (at_the_start,) = ClassEvidence(network, at="pixels", rule="z_plus", netted="start").attribute(x, 0)
    torch.testing.assert_close(at_the_start[:, 2].sum(), torch.tensor(0.25))


def test_a_classifier_drawn_anew_has_a_map_of_its_own() -> None:
    """z+ hardly notices: where much is seen, much relevance goes, whatever it is evidence of."""
    body = seeded(lambda: nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU()))
    x = seeded(lambda: torch.randn(4, 3, 16, 16))
    targets = torch.zeros(4, dtype=torch.int64)

    def explain_with(method: type) -> Any:
        def of(network: nn.Module) -> Any:
            explainer = method(network)
            return lambda images, labels: explainer.attribute(images, labels).reshape(4, -1, 16, 16).sum(1)

        return of

    def mean_correlation(method: type) -> float:
        found = []
        for seed in range(10):
            network = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), seeded(lambda: nn.Linear(24, 5)))
            of = randomisation_correlation(network, explain_with(method), x, targets, seed=seed, redrawn="output")
            found += [values.mean() for values in of.values()]
        return float(torch.stack(found).mean())

    assert mean_correlation(ClassEvidence) < 0.3
    assert mean_correlation(LRP) > 0.65


def test_a_flip_of_the_image_flips_the_map() -> None:
    # All strides are 1, so that cells lie alike from both sides.
    network = seeded(
        lambda: randomise(
            nn.Sequential(
                nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 1), nn.ReLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
            )
        )
    )  # fmt: skip
    explain, x = ClassEvidence(network), images().double()
    torch.testing.assert_close(explain.attribute(x.flip(3), 2), explain.attribute(x, 2).flip(2))


@pytest.mark.parametrize("against", ["rivals", "strongest", "mean", 4])
def test_a_constant_added_to_all_logits_changes_nothing(against: Any) -> None:
    network, x = small_resnet(), images().double()
    before = ClassEvidence(network, against=against).attribute(x, 0)
    assert before.std() > 0
    network.fc.bias.data += 3  # type: ignore[union-attr, operator]
    torch.testing.assert_close(ClassEvidence(network, against=against).attribute(x, 0), before)
    network.fc.weight.data += torch.linspace(-1, 1, 16)  # type: ignore[union-attr, operator]  # of every class alike
    found = ClassEvidence(network, against=against, at="features", smoothing=0).attribute(x, 0)
    expected = ClassEvidence(small_resnet(), against=against, at="features", smoothing=0).attribute(x, 0)
    assert expected.std() > 0
    shift = network(x).softmax(1)[:, 0] / small_resnet()(x).softmax(1)[:, 0]
    torch.testing.assert_close(found, expected * shift[:, None, None].detach())


@pytest.mark.parametrize("end", [nn.Identity(), nn.Dropout(), nn.LogSoftmax(1)])
def test_a_logit_of_0_is_made_of_contributions_as_any_other(end: nn.Module) -> None:
    """Red speaks for both classes alike; what speaks against class 1 outweighs it exactly."""
    network = TwoFeatures()
    network.classify.weight.data[1, 2] = -4
    x = torch.zeros(1, 3, 4, 4)
    x[:, 0, :, 0] = x[:, 1, :, 1] = x[:, 2, :, 2] = 1
    assert network(x)[0, 1] == 0
    evidence = [3, 4]  # for class 0 more than for class 1: of green and of blue, of red none
    (found,) = ClassEvidence(nn.Sequential(network, end).eval(), at="pixels").attribute(x, 0).sum(1)
    torch.testing.assert_close(found / found.sum(), torch.tensor([0, *evidence, 0]) / sum(evidence))


def test_a_network_that_is_sure_has_evidence_as_well() -> None:
    network, x = small_resnet().float(), images(1)
    label = int(network(x).argmax(1))
    expected = ClassEvidence(network).attribute(x)
    assert expected.std() > 0
    with torch.no_grad():
        network.fc.bias[label] += 200  # type: ignore[union-attr, index, operator]  # log p is 0, and so is its gradient
    found = ClassEvidence(network).attribute(x)
    assert network(x).softmax(1)[0, label] == 1
    torch.testing.assert_close(found, expected / expected.sum())
    with pytest.warns(UserWarning, match="the class has probability 0 in image 0 of the batch") as said:
        assert ClassEvidence(network).attribute(x, (label + 1) % 5).abs().max() == 0
    assert len(said) == 1


def test_without_contrast_the_last_feature_map_is_that_of_grad_cam() -> None:
    network, x = seeded(NETWORKS["resnet18"]), images(4, 224)
    maps = LRP(network, start="evidence", against="none").attribute(x, 2, at="layer4").sum(1)
    cams = GradCAM(network).attribute(x, 2)[:, 16::32, 16::32]  # the cells' middles
    for found, cam in zip(maps, cams, strict=True):
        assert torch.corrcoef(torch.stack([found.flatten(), cam.flatten()]))[0, 1] > 0.9995


def test_a_position_where_nothing_speaks_for_the_class_is_not_made_up() -> None:
    network = TwoFeatures()
    x = mosaic()
    x[:, 1] = 0  # no green
    with pytest.warns(UserWarning, match="no position speaks for the class in image 1 of the batch"):
        found = ClassEvidence(network).attribute(torch.cat([mosaic(), x]), 0)
    assert found[0].std() > 0
    assert found[1].std() == 0
    torch.testing.assert_close(found.sum((1, 2)), network(torch.cat([mosaic(), x])).softmax(1)[:, 0].detach())
    with pytest.warns(UserWarning, match="flat map"):
        relevance, sums = LRP(network, start="evidence").attribute(x, 0, return_sums=True)
    assert relevance.std() == 0
    torch.testing.assert_close(relevance.sum(), sums["output"][0])


def test_the_last_feature_map_may_lie_below_a_dense_head() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 8), nn.ReLU(),
            nn.Linear(8, 4),
        ).double()  # fmt: skip

    network, x = seeded(make), images(3, 8).double()
    features = network[:3](x).detach().requires_grad_()  # type: ignore[index]
    logits = network[3:](features)  # type: ignore[index]
    (gradient,) = torch.autograd.grad(logits.log_softmax(1)[:, 2].sum(), features)
    net = (features * gradient).sum(1).clamp(min=0).detach()
    expected = net / net.sum((1, 2), keepdim=True) * logits.softmax(1)[:, 2, None, None]
    found = LRP(network, start="evidence").attribute(x, 2, at="2").sum(1)
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize(("outputs", "make"), [("one logit", lambda: nn.Linear(8, 1)), ("labels", None)])
def test_one_logit_and_several_labels(outputs: str, make: Any) -> None:
    head = [make()] if make is not None else [nn.Linear(8, 4), nn.Sigmoid()]
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network = nn.Sequential(*network, *head).eval()
    x = images()
    scores = "probabilities" if outputs == "labels" else "auto"
    maps = [ClassEvidence(network, scores=scores, at="features").attribute(x, label) for label in (0, 1)]
    output = network(x).detach()
    expected = (
        [output[:, 0], output[:, 1]] if outputs == "labels" else [(-output[:, 0]).sigmoid(), output[:, 0].sigmoid()]
    )
    for found, probability in zip(maps, expected, strict=True):
        torch.testing.assert_close(found.sum((1, 2)), probability, rtol=1e-5, atol=0)


def test_a_batch_is_explained_image_by_image() -> None:
    network, x = small_resnet(), images(5).double()
    explain = ClassEvidence(network)
    targets = torch.tensor([0, 1, 2, 3, 4])
    together = explain.attribute(x, targets)
    for index in range(5):
        alone = explain.attribute(x[index : index + 1], targets[index : index + 1])
        torch.testing.assert_close(alone[0], together[index])


def test_one_call_says_why_one_class_and_not_another() -> None:
    network, x = small_resnet(), images().double()
    several = ClassEvidence(network, against=torch.tensor([2, 4])).attribute(x, 1)
    for index, rival in enumerate((2, 4)):
        torch.testing.assert_close(ClassEvidence(network, against=rival).attribute(x, 1)[index], several[index])


@pytest.mark.parametrize(
    "classes",
    [
        np.array([2, 4]), np.array([4, 2])[::-1], np.array([2, 4], dtype=np.uint16), np.array([2, 4], dtype=">i4"),
        torch.tensor([2, 4], dtype=torch.uint8), torch.tensor([2, 4], dtype=torch.uint64),
    ],
    ids=["int64", "mirrored", "uint16", "big-endian", "tensor of uint8", "tensor of uint64"],
)  # fmt: skip
def test_classes_are_integers_of_any_kind(classes: Any) -> None:
    network, x = small_resnet(), images().double()
    same = torch.tensor([2, 4])
    for method in (partial(LRP, network, start="evidence"), partial(ClassEvidence, network)):
        for found, expected in (
            (method(against=classes).attribute(x, 0), method(against=same).attribute(x, 0)),
            (method(against=3).attribute(x, classes), method(against=3).attribute(x, same)),
        ):
            assert (found.flatten(1).std(1) > 0).all()
            assert torch.equal(found, expected)
    for one in (np.int64(2), np.uint16(2), np.array(2)):
        found = ClassEvidence(network, against=one).attribute(x, one + 2)  # type: ignore[arg-type]
        assert torch.equal(found, ClassEvidence(network, against=2).attribute(x, 4))


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x.flatten(1)).relu()


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("no feature map that all relevance passes", lambda: ClassEvidence(Flattened()).attribute(images(1, 8), 1)),
        ("is the explained one", lambda: ClassEvidence(small_resnet(), against=1).attribute(images().double(), 1)),
        (r"against: .*in \[0, 4\]", lambda: ClassEvidence(small_resnet(), against=7).attribute(images().double(), 1)),
        (
            "against: there is no class 10",
            lambda: ClassEvidence(small_resnet().float(), against=10**30).attribute(images(), 1),
        ),
        ("there is no class -10", lambda: ClassEvidence(small_resnet().float()).attribute(images(), -(10**30))),
        (r"must lie in \[0, 4\]", lambda: ClassEvidence(small_resnet()).attribute(images().double(), 9)),
        (
            "against: expected a word, an int or a tensor of 2 class indices, not list",
            lambda: ClassEvidence(small_resnet(), against=[1, 2]).attribute(images().double(), 0),  # type: ignore[arg-type]
        ),
        ("against", lambda: ClassEvidence(small_resnet(), against="wolf")),
        ("against", lambda: LRP(small_resnet(), start="evidence", against="wolf")),  # type: ignore[arg-type]
        ("evidence", lambda: LRP(small_resnet(), start="evident")),  # type: ignore[arg-type]
        ("is of classes", lambda: LRP(small_resnet(), start="evidence").attribute(images().double(), lambda y: y)),
    ],
)  # fmt: skip
def test_one_line_says_what_cannot_be_explained(said: str, call: Any) -> None:
    with pytest.raises(InputError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


class PooledInTwoSteps(nn.Module):
    """Four rows of four cells, pooled over one side, then the other, or as a row of cells: the same mean."""

    def __init__(self, channels: int, steps: str) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, channels, 2, stride=2), nn.ReLU())
        self.row_of_cells = nn.Flatten(2)
        self.classify = nn.Linear(channels, 5)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        if self.steps == "row of cells":
            return self.classify(self.row_of_cells(found).mean(2))
        return self.classify(found.mean(3).mean(2) if self.steps == "sides" else found.mean((2, 3)))


@pytest.mark.parametrize("method", [ClassEvidence, GradientPyramid, GradCAM])
@pytest.mark.parametrize("steps", ["sides", "row of cells"])
@pytest.mark.parametrize("channels", [6, 17, 64, 16])
def test_channels_are_not_taken_for_the_tokens_of_patches(method: Any, steps: str, channels: int) -> None:
    """As many as two by two patches, four by four and a class token, eight by eight; and exactly as many as cells."""
    network, x, targets = seeded(lambda: PooledInTwoSteps(channels, steps)), images(5, 8), torch.arange(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no position speaks for some of the classes
        found = method(network).attribute(x, targets)
        network.steps = "at once"
        expected = method(network).attribute(x, targets)
    assert (expected.flatten(1).std(1) > 0).any()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_as_many_tokens_as_channels_are_tokens() -> None:
    """Sixteen patches of sixteen channels, in the order of tokens: the evidence is that of the last of them."""

    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 16, 2, stride=2)
            self.mix = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
            self.classify = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.classify(self.mix(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    network, x = seeded(Patches), images(2, 8)
    tokens = network.mix(network.embed(x).flatten(2).transpose(1, 2)).detach().requires_grad_()
    logits = network.classify(tokens.mean(1))
    (gradient,) = torch.autograd.grad(logits.log_softmax(1)[:, 1].sum(), tokens)
    net = (tokens * gradient).sum(2).clamp(min=0).detach()
    expected = net / net.sum(1, keepdim=True) * logits.softmax(1)[:, 1, None].detach()
    found = LRP(network, start="evidence").attribute(x, 1, at="mix").sum(2)
    torch.testing.assert_close(found, expected)


def test_an_operation_without_a_rule_in_the_head_is_named() -> None:
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 8, 3)
            self.prototypes = nn.Parameter(torch.randn(5, 8))

        def forward(self, x: Tensor) -> Tensor:
            scores = self.features(x).mean((2, 3)) @ self.prototypes.T
            return torch.hypot(scores, scores.flip(1))

    with pytest.raises(UnsupportedModelError, match="hypot"):
        LRP(seeded(Prototypes), start="evidence").attribute(images(1, 8), 1)
