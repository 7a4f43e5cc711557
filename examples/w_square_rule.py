"""Recipe: a propagation rule. ``python examples/w_square_rule.py`` evaluates it on the demo.

In the project this file is ``src/relsplit/lrp/rules/w_square.py``; the name that it registers is then known everywhere:
``LRP(model, rule="w_square")``, ``python run.py explainer=ours explainer.rule=w_square``. From outside the project the
configuration names the class: ``conf/explainer/w_square.yaml``.
"""

from torch import Tensor

from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import WeightPart
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.quotient import positive_quotient

SQUARE = WeightPart("square", lambda weight: weight.square())


@RULES.register("w_square")
class WSquare:
    """The w^2 rule (Montavon et al. 2017): ``R_i = sum_j W_ji^2 R_j / sum_k W_jk^2``, whatever the input is."""

    conserves = True

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``; ``support`` is zero where padding put entries in."""
        everywhere = h.new_ones(h.shape) if support is None else support
        s, lost = positive_quotient(relevance, layer.apply(everywhere, SQUARE), stabilizer=0.0)
        result = layer.transpose(s, SQUARE, h) * everywhere
        return result if lost is None else result + layer.spread(lost, support, h)


if __name__ == "__main__":
    import sys

    from command_line import run

    run("explainer=w_square", *sys.argv[1:])
