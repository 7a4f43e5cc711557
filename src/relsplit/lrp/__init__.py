"""The paper's method: relevance splitting for residual networks, and the rules of layer-wise relevance propagation."""

from relsplit.errors import UnsupportedModelError
from relsplit.lrp.lrp import LRP
from relsplit.lrp.rules.alpha_beta import AlphaBeta
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.flat import Flat
from relsplit.lrp.rules.gamma import Gamma
from relsplit.lrp.rules.mixture import Mixture
from relsplit.lrp.rules.ones import Ones
from relsplit.lrp.rules.z_box import ZBox
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.lrp.splitting.proportional import Proportional
from relsplit.lrp.splitting.ratio import Ratio
from relsplit.lrp.splitting.symmetric import Symmetric

__all__ = [
    "LRP",
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Gamma",
    "Mixture",
    "Ones",
    "Proportional",
    "Ratio",
    "Symmetric",
    "UnsupportedModelError",
    "ZBox",
    "ZPlus",
]
