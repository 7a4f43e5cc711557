"""One rule in some layers and another in the others, by where a layer stands."""

from typing import Annotated

from relsplit.errors import InputError
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.gamma import Gamma
from relsplit.lrp.rules.quotient import Stabilizer
from relsplit.lrp.rules.rule import LayerKind, Place, Rule, reads_output
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.options import Limits, checked_options

PAPERS_BLOCKS = 8


@checked_options
class Mixture:
    """``lower`` in the layers that come first, or that are of a kind, and ``upper`` in the others.

    One fact of a layer's place decides; without any, the paper's does (supplement, Table C): the eighth residual block.

    Args:
        lower: a rule.
        upper: a rule.
        blocks: ``lower`` up to so many residual blocks.
        depth: ``lower`` up to this share of all layers. Layers are counted, so no network's names are needed: 0.4 is
            about where ResNets, MobileNets and EfficientNets reach a sixteenth of the image's resolution (Montavon et
            al. 2019, section 10.3).
        kind: ``lower`` in layers of this kind.

    Raises:
        InputError: several facts at once.
    """

    def __init__(
        self,
        lower: Rule,
        upper: Rule,
        blocks: Annotated[int, Limits(minimum=0)] | None = None,
        *,
        depth: Annotated[float, Limits(minimum=0, maximum=1)] | None = None,
        kind: LayerKind | None = None,
    ) -> None:
        facts = [fact for fact in (blocks, depth, kind) if fact is not None]
        if len(facts) > 1:
            raise InputError("Mixture: it changes by one of blocks, depth and kind: give one of them")
        self.lower, self.upper = lower, upper
        self.blocks = blocks if facts else PAPERS_BLOCKS
        self.depth, self.kind = depth, kind

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""
        return self.lower if self._is_lower(place) else self.upper

    def reads_output_at(self, place: Place) -> bool:
        """Say whether a rule that may be the one at ``place`` uses what its layer made."""
        possible = (self.rule_at(place),) if self.depth is None else (self.lower, self.upper)
        return any(reads_output(rule, place) for rule in possible)

    def _is_lower(self, place: Place) -> bool:
        if self.kind is not None:
            return place.kind == self.kind
        if self.depth is not None:
            return place.depth < self.depth
        return self.blocks is not None and place.residuals_before < self.blocks


@RULES.register("mixture")
def by_blocks(stabilizer: Stabilizer = 0.0) -> Mixture:
    """Z+ up to the eighth residual block, epsilon after it: the paper's mixture."""
    return Mixture(ZPlus(stabilizer), Epsilon(stabilizer) if stabilizer else Epsilon())


@RULES.register("gamma_top")
def gamma_on_top(stabilizer: Stabilizer = 0.0) -> Mixture:
    """Z+ below and gamma above."""
    return Mixture(ZPlus(stabilizer), Gamma(stabilizer=stabilizer), depth=0.4)
