"""The Attention Branch Network against its definition, its published size, and the network it is built on."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50, vgg11
from torchvision.models.resnet import BasicBlock, Bottleneck

from relsplit import LRP
from relsplit.bench.models.attention_branch import AttentionBranchNetwork, with_attention_branch
from relsplit.bench.models.attention_branch_training import AttentionBranchFineTuning
from relsplit.bench.models.checkpoint import fill
from relsplit.errors import InputError
from relsplit.explainers import ABN

VARIANTS: list[dict[str, Any]] = [
    {"variant": "official", "residual": True},
    {"variant": "laboratory", "residual": False},
]


def plain(block: type[BasicBlock | Bottleneck] = BasicBlock, classes: int = 6) -> ResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet(block, [1, 1, 1, 2], num_classes=classes)


def network(block: type[BasicBlock | Bottleneck] = BasicBlock, **options: Any) -> AttentionBranchNetwork:
    """In eval mode, its normalisations as if trained."""
    resnet = plain(block)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = AttentionBranchNetwork(resnet, **options)
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
    return made.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def saturate(made: AttentionBranchNetwork, value: float) -> None:
    """Let the map be sigmoid(value) everywhere."""
    last = made.attention_branch.map_head[-2]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, value)


@pytest.mark.parametrize("split", ["layer2", "layer3", "layer4"])
@pytest.mark.parametrize("variant", ["official", "laboratory"])
def test_a_map_of_zeros_or_ones_leaves_the_plain_network(images: Tensor, split: Any, variant: Any) -> None:
    expected = plain().eval()(images)
    passing = AttentionBranchNetwork(plain(), split=split, variant=variant, residual=True).eval()
    saturate(passing, -90.0)  # (1 + 0) g
    torch.testing.assert_close(passing(images), expected)
    gating = AttentionBranchNetwork(plain(), split=split, variant=variant, residual=False).eval()
    saturate(gating, 90.0)  # 1 g
    torch.testing.assert_close(gating(images), expected)
    saturate(gating, -90.0)  # 0 g: nothing of the image arrives
    torch.testing.assert_close(gating(images)[0], gating(torch.randn_like(images))[0])


def test_the_authors_network_step_by_step(images: Tensor) -> None:
    made = network(Bottleneck)
    branch, stem = made.attention_branch, nn.Sequential(made.conv1, made.bn1, made.relu, made.maxpool)
    g = made.layer3(made.layer2(made.layer1(stem(images))))
    norm, to_classes, class_norm, relu = branch.evidence
    evidence = relu(class_norm(to_classes(norm(branch.stage(g)))))
    attention = torch.sigmoid(branch.map_head[1](branch.map_head[0](evidence)))
    perception = made.fc(made.layer4((1 + attention) * g).mean((2, 3)))
    by_branch = branch.class_head[0](evidence).mean((2, 3))
    scores, attention_scores = made.both_scores(images)
    torch.testing.assert_close(scores, perception)
    torch.testing.assert_close(attention_scores, by_branch)
    torch.testing.assert_close(made(images), perception)
    torch.testing.assert_close(made.attention_map(images), attention[:, 0])
    assert made.attention_map(images).shape == (2, 4, 4)
    assert to_classes.bias is None
    assert branch.map_head[0].kernel_size == (3, 3)


def test_the_laboratorys_scores_have_rank_ten_at_most(images: Tensor) -> None:
    made = AttentionBranchNetwork(plain(classes=40), variant="laboratory", residual=False, split="layer2").eval()
    scores = made.double().both_scores(torch.randn(30, 3, 32, 32, dtype=torch.float64))[1]
    assert 1 < torch.linalg.matrix_rank(scores) <= 10
    assert made.float().attention_map(images).shape == (2, 16, 16)  # the output of layer1
    assert [type(each) for each in made.attention_branch.stage] == [Bottleneck, Bottleneck]


def test_has_the_size_of_the_authors_network() -> None:
    with torch.device("meta"):
        made = AttentionBranchNetwork(resnet50(num_classes=200))
    total, branch = (sum(p.numel() for p in part.parameters()) for part in (made, made.attention_branch))
    assert total / 1e6 == pytest.approx(39.3, abs=0.05)
    assert branch / 1e6 == pytest.approx(15.4, abs=0.05)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_conserves_relevance_and_the_branch_gets_none(images: Tensor, options: dict[str, Any], blocks: int) -> None:
    made = network(Bottleneck, **options, blocks=blocks)
    assert len(made.attention_branch.stage) == blocks
    relevance, sums = LRP(made).attribute(images, return_sums=True)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-5, atol=0)
    assert all(torch.allclose(each, sums["output"], rtol=1e-5) for each in sums.values())


def test_the_explainer_shows_the_networks_own_map_whatever_the_class(images: Tensor) -> None:
    made = network()
    explainer = ABN(made)
    found = explainer.attribute(images, 3)
    assert torch.equal(found, made.attention_map(images).detach())
    assert torch.equal(found, explainer.attribute(images))
    assert ((found > 0) & (found < 1)).all()
    assert torch.equal(ABN(nn.DataParallel(made)).attribute(images), found)


@pytest.mark.parametrize("given", [resnet18(num_classes=3), vgg11(num_classes=3)])
def test_the_explainer_refuses_a_network_without_a_branch(given: nn.Module) -> None:
    with pytest.raises(InputError, match=f"{type(given).__name__} has no attention branch") as caught:
        ABN(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "layer5"}, "split must be one of layer2, layer3, layer4"),
        ({"split": "layer1"}, "split must be one of layer2, layer3, layer4"),
        ({"blocks": 0}, "blocks must be a whole number of at least 1"),
        ({"variant": "theirs"}, "variant must be one of official, laboratory"),
        ({"residual": 1}, "residual must be true or false"),
    ],
)
def test_refuses(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AttentionBranchNetwork(plain(), **options)


def test_refuses_what_is_no_resnet() -> None:
    with pytest.raises(InputError, match="needs a torchvision ResNet, not a VGG"):
        with_attention_branch(vgg11(num_classes=2), 2)


def test_starts_from_a_plain_networks_weights() -> None:
    source, made = plain(classes=9), with_attention_branch(copy.deepcopy(plain()), 4)
    before = copy.deepcopy(made.state_dict())
    fill(made, made.completed(source.state_dict()), source="plain", new_head=True)
    state = made.state_dict()
    assert torch.equal(state["layer4.0.conv1.weight"], source.layer4[0].conv1.weight)
    assert torch.equal(state["attention_branch.stage.0.conv1.weight"], source.layer4[0].conv1.weight)
    for name in ("fc.weight", "attention_branch.class_head.0.weight", "attention_branch.map_head.0.weight"):
        assert torch.equal(state[name], before[name]), name
    assert state.keys() == before.keys()


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_the_loss_is_the_sum_of_both_branches_cross_entropies(images: Tensor, weight: float) -> None:
    made, labels = network(), torch.tensor([1, 5])
    training = AttentionBranchFineTuning(made, list("abcdef"), {}, torch.optim.SGD, attention_weight=weight)
    scores, loss = training.scores_and_loss(images, labels, "val", 0.0)
    perception, attention = (-each.log_softmax(1)[[0, 1], labels].mean() for each in made.both_scores(images))
    torch.testing.assert_close(loss, perception + weight * attention)
    torch.testing.assert_close(scores, made(images))
    by_branch = (made.both_scores(images)[1].argmax(1) == labels).float().mean()
    assert training.val_attention_accuracy.compute() == by_branch
    loss.backward()
    learns = made.attention_branch.class_head[0].weight.grad.abs().sum() > 0
    assert learns == (weight > 0)
    assert made.attention_branch.map_head[0].weight.grad.abs().sum() > 0  # by the perception branch
