"""The flat rule, Lapuschkin et al. 2019."""

from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.rules import RULES


@RULES.register("flat")
class Flat:
    """Every unit distributes its relevance evenly over its receptive field."""

    conserves = True

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        return layer.spread(relevance, support, h).clone()
