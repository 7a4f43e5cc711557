"""Attention Branch Network (Fukui et al., CVPR 2019): a ResNet that looks where a branch of its own says.

The branch stands between two stages. From the feature g it makes class scores, which it is trained with, and one map
M in (0, 1), which weights g for the stages that follow. Two variants are known: the authors' code
(machine-perception-robotics-group/attention_branch_network), and that of the C1-LRP poster's laboratory
(keio-smilab24/LRP-for-ResNet). They differ in the branch, and in what becomes of g.
"""

import copy
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from relsplit.errors import InputError
from relsplit.options import Count, checked_options

Split = Literal["layer2", "layer3", "layer4"]
Variant = Literal["official", "laboratory"]

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_LABORATORY_CHANNELS = 10
_LABORATORY_BLOCKS = 2


class AttentionBranch(nn.Module):
    """From the feature g to the branch's class scores and its map.

    Args:
        stage: residual blocks that keep the size of g.
        evidence: what follows them; both heads read it.
        class_head: to scores (N, classes, 1, 1).
        map_head: to the map (N, 1, h, w), in (0, 1).
    """

    def __init__(self, stage: nn.Sequential, evidence: nn.Module, class_head: nn.Module, map_head: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.evidence = evidence
        self.class_head = class_head
        self.map_head = map_head

    def forward(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, classes) and map (N, 1, h, w) of features (N, C, h, w)."""
        evidence = self.evidence(self.stage(g))
        return self.class_head(evidence).flatten(1), self.map_head(evidence)


@checked_options
class AttentionBranchNetwork(nn.Module):
    """A torchvision ResNet with an attention branch in front of one of its stages.

    Its forward returns the scores of the perception branch, (N, 3, H, W) to (N, classes), so that whatever explains a
    classifier explains it; the ResNet's parts keep their names (``layer4[-1]`` is where it was).

    Args:
        resnet: any torchvision ResNet; its parts are taken over, not copied.
        split: the stage that reads the weighted feature; the branch reads the output of the one before it. The
            authors' is ``"layer4"`` for ImageNet (M is 14x14 at 224x224), the laboratory's ``"layer2"`` (56x56).
        residual: feed ``(1 + M) g`` (authors' code) or ``M g`` (laboratory's code) to the stage.
        variant: of the branch. ``"official"``: blocks like those of the stage ``split``, without its stride, then
            BatchNorm, 1x1 convolution to one channel a class, BatchNorm, ReLU; map by a 3x3 convolution.
            ``"laboratory"``: Bottlenecks as wide as g, BatchNorm, 1x1 convolution to 10 channels (so that the branch's
            class scores have rank 10 at most), ReLU; map by two 1x1 convolutions. That code also sets values of M up to
            a threshold to 0, by default none, and multiplies in float64; both are left out.
        blocks: residual blocks in the branch; None: as many as the stage has (official), or 2 (laboratory).

    Raises:
        InputError: no torchvision ResNet, or an option has another value.
    """

    def __init__(
        self,
        resnet: nn.Module,
        split: Split = "layer4",
        residual: bool = True,
        variant: Variant = "official",
        blocks: Count | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(resnet, ResNet):
            raise InputError(f"resnet: an attention branch needs a torchvision ResNet, not a {type(resnet).__name__}")
        make = {"official": official_branch, "laboratory": laboratory_branch}[variant]
        branch = make(getattr(resnet, split), resnet.fc.out_features, blocks)
        self.split = split
        self.residual = residual
        for name, part in resnet.named_children():
            if name == split:  # in the order of the forward pass
                self.add_module("attention_branch", branch)
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, classes) of the perception branch."""
        return self.both_scores(images)[0]

    def both_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, classes) of the perception branch and of the attention branch."""
        g = self._feature(images)
        scores, attention = self.get_submodule("attention_branch")(g)
        h = g * attention
        if self.residual:
            h = h + g
        for name in (*_STAGES[_STAGES.index(self.split) :], "avgpool"):
            h = self.get_submodule(name)(h)
        return self.get_submodule("fc")(h.flatten(1)), scores

    def attention_map(self, images: Tensor) -> Tensor:
        """The map M (N, h, w) in (0, 1), at the resolution of the feature; it is the same for every class."""
        attention: Tensor = self.get_submodule("attention_branch")(self._feature(images))[1]
        return attention.squeeze(1)

    def completed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state dict of a plain ResNet with what the branch adds to it, to start fine-tuning from.

        The blocks of an official branch begin as those of the stage they are made after, so that they start from
        pretrained weights as well; that is this project's choice, the authors train from scratch. All else of the
        branch is as it is now.
        """
        own = {name: value for name, value in self.state_dict().items() if name.startswith("attention_branch.")}
        taken = {}
        for name, value in own.items():
            source = state.get(name.replace("attention_branch.stage", self.split, 1))
            if name.startswith("attention_branch.stage") and source is not None and source.shape == value.shape:
                taken[name] = source
        return {**state, **own, **taken}

    def _feature(self, images: Tensor) -> Tensor:
        g = images
        for name in ("conv1", "bn1", "relu", "maxpool", *_STAGES[: _STAGES.index(self.split)]):
            g = self.get_submodule(name)(g)
        return g


def with_attention_branch(
    backbone: nn.Module,
    num_classes: int,
    split: Split = "layer4",
    residual: bool = True,
    variant: Variant = "official",
    blocks: Count | None = None,
) -> AttentionBranchNetwork:
    """Build an :class:`AttentionBranchNetwork` for ``num_classes`` classes.

    Args:
        backbone: a torchvision ResNet; its last layer is replaced where it has another number of classes.
        num_classes: of the network.
        split: see :class:`AttentionBranchNetwork`, as are the others.
        residual: see there.
        variant: see there.
        blocks: see there.

    Raises:
        InputError: see there.
    """
    if isinstance(backbone, ResNet) and backbone.fc.out_features != num_classes:
        backbone.fc = nn.Linear(backbone.fc.in_features, num_classes)
    return AttentionBranchNetwork(backbone, split, residual, variant, blocks)


def official_branch(stage: nn.Sequential, num_classes: int, blocks: int | None) -> AttentionBranch:
    """Build the branch of the authors' code.

    Args:
        stage: that the branch's blocks are made after; it is not changed.
        num_classes: of the network.
        blocks: how many; None: as many as ``stage`` has.
    """
    like = list(stage)
    wanted = len(like) if blocks is None else blocks
    copies = nn.Sequential(*(copy.deepcopy(like[min(index, len(like) - 1)]) for index in range(wanted)))
    for layer in _convolutions(copies):
        layer.stride = (1, 1)
    channels = _convolutions(copies)[-1].out_channels
    evidence = nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, num_classes, 1, bias=False),
        nn.BatchNorm2d(num_classes),
        nn.ReLU(),
    )
    map_head = nn.Sequential(nn.Conv2d(num_classes, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())
    return _drawn_anew(AttentionBranch(copies, evidence, _class_head(num_classes, num_classes), map_head))


def laboratory_branch(stage: nn.Sequential, num_classes: int, blocks: int | None) -> AttentionBranch:
    """Build the branch of the laboratory's code; see :func:`official_branch`."""
    width = _convolutions(stage)[0].in_channels
    wide = width * Bottleneck.expansion
    widening = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide))
    further = (Bottleneck(wide, width) for _ in range((_LABORATORY_BLOCKS if blocks is None else blocks) - 1))
    own = nn.Sequential(Bottleneck(width, width, downsample=widening), *further)
    few = _LABORATORY_CHANNELS
    evidence = nn.Sequential(nn.BatchNorm2d(wide), nn.Conv2d(wide, few, 1, bias=False), nn.ReLU())
    map_head = nn.Sequential(
        nn.Conv2d(few, few, 1, bias=False),
        nn.BatchNorm2d(few),
        nn.ReLU(),
        nn.Conv2d(few, 1, 1, bias=False),
        nn.BatchNorm2d(1),
        nn.Sigmoid(),
    )
    return _drawn_anew(AttentionBranch(own, evidence, _class_head(few, num_classes), map_head))


def _class_head(channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, num_classes, 1, bias=False), nn.AdaptiveAvgPool2d(1))


def _convolutions(part: nn.Module) -> list[nn.Conv2d]:
    return [module for module in part.modules() if isinstance(module, nn.Conv2d)]


def _drawn_anew(branch: AttentionBranch) -> AttentionBranch:
    """Initialise as the authors and torchvision's ResNet do: He et al.'s normal distribution by fan-out."""
    for module in branch.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return branch
