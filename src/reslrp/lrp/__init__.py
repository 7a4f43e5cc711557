"""The paper's method: relevance splitting for residual networks, and the rules of layer-wise relevance propagation."""

from reslrp.lrp.lrp import LRP
from reslrp.lrp.rules.alpha_beta import AlphaBeta
from reslrp.lrp.rules.choice import Mixture
from reslrp.lrp.rules.epsilon import Epsilon
from reslrp.lrp.rules.flat import Flat
from reslrp.lrp.rules.gamma import Gamma
from reslrp.lrp.rules.ones import Ones
from reslrp.lrp.rules.z_box import ZBox
from reslrp.lrp.rules.z_plus import ZPlus
from reslrp.lrp.splitting.proportional import Proportional
from reslrp.lrp.splitting.ratio import Ratio
from reslrp.lrp.splitting.symmetric import Symmetric
from reslrp.lrp.tracing import UnsupportedModelError

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
