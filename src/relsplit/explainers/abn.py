"""The map of an Attention Branch Network (Fukui et al., CVPR 2019)."""

import typing

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.networks.answer import Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.networks.views import unwrapped
from relsplit.targets.target import Target


@typing.runtime_checkable
class AttentionNetwork(typing.Protocol):
    """A network with an attention branch."""

    def attention_map(self, images: Tensor) -> Tensor:
        """The branch's map (N, h, w) of images (N, 3, H, W)."""


class ABN:
    """What the network itself says it looks at: the map of its attention branch.

    There is one map per image, whatever the class: ``target`` is checked and not used.

    Examples:
        >>> import torch
        >>> from torchvision.models import resnet18
        >>> from relsplit.bench.models.attention_branch import AttentionBranchNetwork
        >>> from relsplit.explainers import ABN
        >>> model = AttentionBranchNetwork(resnet18(num_classes=5))
        >>> tuple(ABN(model).attribute(torch.rand(2, 3, 64, 64), target=3).shape)
        (2, 4, 4)

    Args:
        model: network with a method ``attention_map(images)``, such as
            :class:`relsplit.bench.models.attention_branch.AttentionBranchNetwork`.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: the network has no attention branch.
    """

    forward_equivalents = 1.0
    """Up to the end of the attention branch."""

    def __init__(self, model: nn.Module, scores: Scores = "auto", output: "OutputChoice | None" = None) -> None:
        model = unwrapped(model)
        if not isinstance(model, AttentionNetwork):
            raise InputError(
                f"explainer=abn: {type(model).__name__} has no attention branch, so no map of its own: choose a "
                "network with one (model=abn_demo, abn_resnet18, abn_resnet50) or another explainer"
            )
        self._shared = SharedNetwork(model, scores, output)

    def attribute(self, images: Tensor, target: "Target | None" = None) -> Tensor:
        """Maps (N, h, w) in (0, 1), at the resolution of the branch."""
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(images, target)
            if target is not None and not callable(call.explained):
                call.answer().classes(call.explained)
            network = call.network
            assert isinstance(network, AttentionNetwork)
            # What is hooked before the network belongs to its input; what is hooked behind it to its answer.
            network.forward = network.attention_map
            network._forward_hooks.clear()
            maps: Tensor = network(call.images)
            return maps
