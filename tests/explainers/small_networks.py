"""Small seeded networks and images for the explainers' tests."""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from relsplit.bench.models.attention_branch import AttentionBranchNetwork
from small_transformer import small_vit


class SmallResNet(ResNet):
    """torchvision's ResNet, its own forward pass and blocks, with few channels (16 in layer4)."""

    def __init__(self, block: type[BasicBlock | Bottleneck], classes: int = 5) -> None:
        nn.Module.__init__(self)
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = 8, 1, 1, 64
        planes = 16 // block.expansion
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, planes, 1)
        self.layer2 = self._make_layer(block, planes, 2, stride=2)
        self.layer3 = self._make_layer(block, planes, 1)
        self.layer4 = self._make_layer(block, planes, 2, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, classes)


def randomise(network: nn.Module) -> nn.Module:
    """BatchNorm statistics that are not the initial ones; eval mode, float64."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.3)
    return network.double().eval()


def small_resnet(block: type[BasicBlock | Bottleneck] = Bottleneck) -> nn.Module:
    """Identity and projection skips, one ReLU module used many times, in-place ReLU and ``+=``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomise(SmallResNet(block))


def small_network(name: str) -> nn.Module:
    """The network that every explainer is tried on: a ResNet, one with an attention branch, or a transformer."""
    if name in ("attention_rollout", "transformer_attribution"):
        return small_vit(size=64).double()
    if name != "abn":
        return small_resnet()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomise(AttentionBranchNetwork(SmallResNet(Bottleneck)))


def small_vgg(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Convolutions in a Sequential; no layer4, no additions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential()
        network.add_module(
            "features",
            nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), activation(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), activation()
            ),
        )
        network.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
        network.add_module("flatten", nn.Flatten())
        network.add_module("classifier", nn.Linear(12, 5))
        return randomise(network)


def seeded_images(count: int = 3, size: int = 64, seed: int = 0) -> Tensor:
    """(count, 3, size, size), standard normal, float64."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
