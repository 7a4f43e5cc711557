"""The composites that other LRP libraries name: one rule for convolutions, another for fully connected layers.

As zennit defines them: denominators have a stabiliser and hold the biases, whose share is lost. The first layer has a
rule of its own (``input_rule``), pooling has the winner's (``max_pool="winner"``), additions divide with their signs
(``split="proportional"``): conf/explainer/epsilon_plus_flat.yaml and its neighbours say all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.alpha_beta import AlphaBeta
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.gamma import Gamma
from relsplit.lrp.rules.quotient import Stabilizer
from relsplit.lrp.rules.rule import Place, Rule
from relsplit.lrp.rules.z_box import ZBox
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.options import Positive, checked_options

STABILIZER = 1e-6
"""zennit's, where LRP's option is 0."""


@checked_options
@dataclass(frozen=True)
class ByKind:
    """``convolution`` in convolutions, epsilon in fully connected layers and where inputs are averaged."""

    convolution: Rule
    epsilon: Epsilon

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""
        return self.convolution if place.kind == "convolution" else self.epsilon


@RULES.register("epsilon_plus")
def named_epsilon_plus(stabilizer: float) -> ByKind:
    """Build epsilon over z+ (Kohlbrenner et al. 2020) by name."""
    small = stabilizer or STABILIZER
    return ByKind(ZPlus(small, bias=True), Epsilon(small))


@RULES.register("epsilon_gamma")
def named_epsilon_gamma(stabilizer: float) -> ByKind:
    """Build epsilon over gamma (Montavon et al. 2019) by name."""
    small = stabilizer or STABILIZER
    return ByKind(Gamma(stabilizer=small, bias=True), Epsilon(small))


@RULES.register("epsilon_alpha2_beta1")
def named_epsilon_alpha2_beta1(stabilizer: float) -> ByKind:
    """Build epsilon over alpha2-beta1 (Kohlbrenner et al. 2020) by name."""
    small = stabilizer or STABILIZER
    return ByKind(AlphaBeta(stabilizer=small, bias=True), Epsilon(small))


@checked_options
def pixel_box(mean: Sequence[float], std: Sequence[Positive], stabilizer: Stabilizer = 0.0) -> ZBox:
    """Return the z^B rule for pixels that lay in [0, 1] before they were normalised.

    Args:
        mean: of every channel.
        std: of every channel.
        stabilizer: added to the denominator.
    """
    center, scale = torch.tensor(list(mean)).reshape(-1, 1, 1), torch.tensor(list(std)).reshape(-1, 1, 1)
    return ZBox((0 - center) / scale, (1 - center) / scale, stabilizer)
