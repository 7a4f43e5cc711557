"""Gradient x input, a map that depends on the weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def explain_with(network: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what computes maps (N, H, W) of a network."""

    def explain(images: Tensor, targets: Tensor) -> Tensor:
        images = images.detach().requires_grad_()
        score = network(images).gather(1, targets[:, None]).sum()
        return (torch.autograd.grad(score, images)[0] * images).sum(1)

    return explain
