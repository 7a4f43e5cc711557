"""Relevance splitting: the paper's layer-wise relevance propagation for residual networks."""

from typing import Any

from torch import Tensor, nn

from relsplit.lrp import LRP


class RelevanceSplitting:
    """:class:`relsplit.LRP` behind the interface of all explainers.

    Args:
        model: any network that ``torch.fx`` can trace and whose layers have a rule.
        options: keyword arguments of :class:`relsplit.LRP`, where they are described.

    Raises:
        InputError: an option or the network cannot be used.
    """

    forward_equivalents = 3.0
    """The forward pass, and per layer the normalisation z = W+ h and the transposed W+."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        self.lrp = LRP(model, **options)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Relevance (N, 3, H, W) of the input; its sum is that of the start, the class's probability by default."""
        relevance: Tensor = self.lrp.attribute(images, target)
        return relevance.detach()
