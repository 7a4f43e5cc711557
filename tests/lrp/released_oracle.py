"""What the paper's released code computes, written literally for one ResNet and any batch, in the model's precision.

The stem sees a tensor of ones; 3x3 max pooling is taken as 2x2 average pooling; every denominator has 1e-5 added;
biases are dropped; BatchNorm and ReLU pass relevance through.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-5


def released_map(model: nn.Module, images: Tensor, split: str, include_identity: bool) -> Tensor:
    """Attribution maps (N, H, W) for the predicted classes of a torchvision ResNet."""
    with torch.no_grad():
        stem = model.relu(model.bn1(model.conv1(images)))
        x = model.maxpool(stem)
        blocks = [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]
        inputs = []
        for block in blocks:
            inputs.append(x)
            x = block(x)
        probabilities = model(images).softmax(1)
        predicted = probabilities.argmax(1, keepdim=True)
        start = torch.zeros_like(probabilities).scatter_(1, predicted, probabilities.gather(1, predicted))
    relevance = _through(lambda v: F.linear(v, model.fc.weight.clamp(min=0)), x.mean((2, 3)), start)
    relevance = _through(lambda v: v.mean((2, 3)), x, relevance)
    for block, h in zip(reversed(blocks), reversed(inputs), strict=True):
        relevance = _through_block(block, h, relevance, split, include_identity)
    relevance = _through(lambda v: F.avg_pool2d(v, 2, 2), stem, relevance)
    return _through_convolution(model.conv1, torch.ones_like(images), relevance).sum(1)


def _through_block(block: nn.Module, h: Tensor, relevance: Tensor, split: str, include_identity: bool) -> Tensor:
    names = ["1", "2", "3"] if hasattr(block, "conv3") else ["1", "2"]
    with torch.no_grad():
        steps, x = [], h
        for name in names:
            convolution = getattr(block, f"conv{name}")
            steps.append((convolution, x))
            x = getattr(block, f"bn{name}")(convolution(x))
            x = x if name == names[-1] else x.relu()
        skip = h if block.downsample is None else block.downsample(h)
    if block.downsample is None and not include_identity:
        share: Tensor | float = 0.0
    else:
        share = skip.abs() / (skip.abs() + x.abs()) if split == "ratio" else 0.5
    r_skip, r_branch = relevance * share, relevance * (1 - share)
    for convolution, value in reversed(steps):
        r_branch = _through_convolution(convolution, value, r_branch)
    if block.downsample is not None:
        r_skip = _through_convolution(block.downsample[0], h, r_skip)
    return r_branch + r_skip


def _through_convolution(convolution: nn.Module, h: Tensor, relevance: Tensor) -> Tensor:
    weight = convolution.weight.clamp(min=0)
    return _through(
        lambda v: F.conv2d(v, weight, None, convolution.stride, convolution.padding, 1, convolution.groups),
        h,
        relevance,
    )


def _through(positive_map: object, h: Tensor, relevance: Tensor) -> Tensor:
    variable = h.detach().requires_grad_()
    z = positive_map(variable) + EPSILON  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(z, variable, (relevance / z).detach())
    return gradient * h
