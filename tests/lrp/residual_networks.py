"""Small residual networks with trained-like BatchNorm statistics, seeded."""

import copy
import functools

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from relsplit.bench.models.narrow_bottleneck import NarrowBottleneck


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw BatchNorm's statistics and affine parameters, so that nothing is 0 or 1 by initialisation."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean.copy_(0.1 * torch.randn(count, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(count, generator=generator))
            with torch.no_grad():
                module.weight.copy_(0.5 + torch.rand(count, generator=generator))
                module.bias.copy_(0.1 * torch.randn(count, generator=generator))
    return network.eval()


def built(name: str, **options: object) -> nn.Module:
    """A torchvision network of 10 classes with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomised(torchvision.models.get_model(name, weights=None, num_classes=10, **options))


@functools.cache
def _small_resnet(block: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomised(torchvision.models.ResNet(block, [2, 1, 1, 2], num_classes=10))


def small_resnet(block: type[nn.Module] = NarrowBottleneck) -> nn.Module:
    """A ResNet with identity and projection skips that runs in milliseconds; a copy of its own for every caller."""
    return copy.deepcopy(_small_resnet(block))


def images(count: int = 2, size: int = 33, seed: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


BLOCKS = {"BasicBlock": BasicBlock, "Bottleneck": NarrowBottleneck}
