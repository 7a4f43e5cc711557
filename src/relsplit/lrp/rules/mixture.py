"""A mixture of rules by depth (supplement, Table C)."""

from dataclasses import dataclass
from typing import Annotated

from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.epsilon import named_epsilon
from relsplit.lrp.rules.rule import Place, Rule
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.options import Limits, checked_options


@checked_options
@dataclass(frozen=True)
class Mixture:
    """``lower`` up to the ``blocks``-th residual block, ``upper`` after it.

    The paper's Table C: z+ up to the eighth Bottleneck, epsilon after it.
    """

    lower: Rule
    upper: Rule
    blocks: Annotated[int, Limits(minimum=0)] = 8

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""
        return self.lower if place.residuals_before < self.blocks else self.upper


@RULES.register("mixture")
def named_mixture(stabilizer: float) -> Mixture:
    """Build the paper's mixture."""
    return Mixture(ZPlus(stabilizer), named_epsilon(stabilizer))
