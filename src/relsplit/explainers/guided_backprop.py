"""Guided BackPropagation (Springenberg et al., 2015), by captum."""

import captum.attr
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.captum_call import Score, captum_call, with_score
from relsplit.explainers.shared.module_per_step import one_module_per_step
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options


@checked_options
class GuidedBackprop:
    """The gradient of the score, of which each ReLU passes only the positive part.

    Args:
        model: a network with ReLUs that ``torch.fx`` can trace; functional and in-place ReLUs are taken into account.
        score: ``"logit"`` (published) or ``"probability"``.

    Raises:
        InputError: an unknown score, a network that cannot be traced or has no ReLU.
    """

    forward_equivalents = 2.0
    """Forward and backward."""

    def __init__(self, model: nn.Module, score: Score = "logit") -> None:
        self._shared = SharedNetwork(model, one_module_per_step)
        self._score = score
        if not any(isinstance(module, nn.ReLU) for module in self._shared.network.modules()):
            raise InputError(f"guided_backprop acts on ReLUs, and {type(model).__name__} has none")

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the score per unit of the normalised image."""
        with captum_call():
            network, images, classes = self._shared.prepare(images, target)
            method = captum.attr.GuidedBackprop(with_score(network, self._score))
            attribution: Tensor = method.attribute(images, classes)
        return attribution.detach()
