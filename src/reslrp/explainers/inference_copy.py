"""A copy of a network for many forward passes without gradients."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from reslrp.explainers.shared_network import shared_copy


def inference_copy(network: nn.Module) -> nn.Module:
    """The same function with BatchNorm folded into the convolutions (where ``torch.fx`` can trace) and channels last.

    Args:
        network: in eval mode; it is not changed. The convolutions' weights are copied, scaled.
    """
    try:
        folded = fuse(network)
    except Exception:  # fx runs the network's own code: what cannot be traced is evaluated as it is
        folded = shared_copy(network)
    for module in folded.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return folded.to(memory_format=torch.channels_last)
