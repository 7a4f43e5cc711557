"""One rule in the lower part of a network and another in the upper one (Montavon et al. 2019, section 10.3)."""

from dataclasses import dataclass
from typing import Annotated

from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.gamma import Gamma
from relsplit.lrp.rules.rule import Place, Rule
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.options import Limits, checked_options


@checked_options
@dataclass(frozen=True)
class ByDepth:
    """``lower`` in the first layers, ``upper`` from the share ``depth`` of all layers on.

    Layers are counted, so no network's names are needed: 0.4 is about where ResNets, MobileNets and EfficientNets
    reach a sixteenth of the image's resolution.
    """

    lower: Rule
    upper: Rule
    depth: Annotated[float, Limits(minimum=0, maximum=1)] = 0.4

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""
        return self.lower if place.depth < self.depth else self.upper


@RULES.register("gamma_top")
def named_gamma_top(stabilizer: float) -> ByDepth:
    """Build z+ below and gamma above by name."""
    return ByDepth(ZPlus(stabilizer), Gamma(stabilizer=stabilizer))
