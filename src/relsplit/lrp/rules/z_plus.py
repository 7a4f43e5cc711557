"""The z+ rule (alpha1-beta0), paper Eq. 2-3."""

from torch import Tensor

from relsplit.lrp.layers.both_signs import LEAST_INPUTS, both_signs
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import POSITIVE
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import Stabilizer, add_bias, positive_quotient
from relsplit.lrp.rules.rule import Place
from relsplit.options import checked_options


@RULES.register("z_plus", "alpha1_beta0")
@checked_options
class ZPlus:
    """``R_i = h_i sum_j W+_ji R_j / z_j`` with ``z = W+ h``: relevance follows positive contributions only.

    Where an input can be negative (after a linear bottleneck, at the image) the positive contributions are
    ``W+ h+ + W- h-``, so that z stays non-negative. A unit without any positive contribution (its activation comes from
    a bias or from BatchNorm's shift alone) distributes its relevance evenly over its receptive field, as relevance of a
    bias is distributed in Bach et al. 2015; with a stabiliser it is lost instead, as in the paper's released code.

    Args:
        stabilizer: added to z.
        bias: whether positive biases count among the contributions; their share is lost.
    """

    def __init__(self, stabilizer: Stabilizer = 0.0, bias: bool = False) -> None:
        self.stabilizer, self.bias = stabilizer, bias
        self.conserves = not bias and not stabilizer

    def reads_output_at(self, place: Place) -> bool:
        """Say whether it uses what the layer made: see :func:`relsplit.lrp.layers.both_signs.both_signs`."""
        return not place.nonnegative and place.device == "cpu" and place.inputs >= LEAST_INPUTS

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        if nonnegative:
            z = add_bias(layer.apply(h, POSITIVE), layer, POSITIVE, self.bias)
            s, lost = positive_quotient(relevance, z, self.stabilizer)
            result = layer.transpose(s, POSITIVE, h).mul_(h)
        else:
            signed = both_signs(layer, h)
            z = add_bias(signed.apply(), layer, POSITIVE, self.bias)
            s, lost = positive_quotient(relevance, z, self.stabilizer)
            result = signed.shares(s)
        return result if lost is None else result.add_(layer.spread(lost, support, h))
