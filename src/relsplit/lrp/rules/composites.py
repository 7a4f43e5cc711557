"""The composites that other LRP libraries name: one rule in convolutions, epsilon in all other layers.

As zennit defines them: denominators have a stabiliser and hold the biases, whose share is lost. The first layer has a
rule of its own (``input_rule``), pooling has the winner's (``max_pool="winner"``), additions divide with their signs
(``split="proportional"``): conf/explainer/epsilon_plus_flat.yaml and its neighbours say all of it.
"""

from collections.abc import Sequence

import torch

from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.alpha_beta import AlphaBeta
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.gamma import Gamma
from relsplit.lrp.rules.mixture import Mixture
from relsplit.lrp.rules.quotient import Stabilizer
from relsplit.lrp.rules.z_box import ZBox
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.options import Positive, checked_options

ZENNITS = 1e-6
"""The stabiliser of a composite where LRP's option is 0."""


@RULES.register("epsilon_plus")
def epsilon_plus(stabilizer: Stabilizer = ZENNITS) -> Mixture:
    """Epsilon over z+ (Kohlbrenner et al. 2020)."""
    return Mixture(ZPlus(stabilizer, bias=True), Epsilon(stabilizer), kind="convolution")


@RULES.register("epsilon_gamma")
def epsilon_gamma(stabilizer: Stabilizer = ZENNITS) -> Mixture:
    """Epsilon over gamma (Montavon et al. 2019)."""
    return Mixture(Gamma(stabilizer=stabilizer, bias=True), Epsilon(stabilizer), kind="convolution")


@RULES.register("epsilon_alpha2_beta1")
def epsilon_alpha2_beta1(stabilizer: Stabilizer = ZENNITS) -> Mixture:
    """Epsilon over alpha2-beta1 (Kohlbrenner et al. 2020)."""
    return Mixture(AlphaBeta(stabilizer=stabilizer, bias=True), Epsilon(stabilizer), kind="convolution")


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
