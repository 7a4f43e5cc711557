"""Layer-wise relevance propagation with relevance splitting: maps whose relevance sums to what is explained."""

from relsplit.attribution import heat_quantization
from relsplit.lrp import LRP

__all__ = ["LRP", "heat_quantization"]
