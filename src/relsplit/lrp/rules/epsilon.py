"""The epsilon rule, Bach et al. 2015."""

from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer, output_of
from relsplit.lrp.layers.weights import FULL
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import Stabilizer, signed_shares
from relsplit.options import checked_options


@RULES.register("epsilon")
@checked_options
class Epsilon:
    """``R_i = h_i sum_j W_ji R_j / (z_j + epsilon sign(z_j))`` with ``z = W h + b``.

    The share of the bias (and of epsilon) goes nowhere: the rule conserves relevance only without biases.
    """

    conserves = False
    reads_output = True

    def __init__(self, epsilon: Stabilizer = 1e-9) -> None:
        self.epsilon = epsilon

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``, see :class:`relsplit.lrp.rules.rule.Rule`."""
        s = signed_shares(relevance, output_of(layer, h), self.epsilon, over=relevance)
        return layer.transpose(s, FULL, h).mul_(h)
