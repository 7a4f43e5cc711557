"""The flat rule, Lapuschkin et al. 2019."""

from torch import Tensor

from reslrp.lrp.layers import LinearLayer


class Flat:
    """Every unit distributes its relevance evenly over its receptive field."""

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        return layer.spread(relevance, support, h)
