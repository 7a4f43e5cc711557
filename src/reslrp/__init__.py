"""Layer-wise relevance propagation for residual networks."""

from reslrp.attribution import heat_quantization
from reslrp.lrp import LRP

__all__ = ["LRP", "heat_quantization"]
