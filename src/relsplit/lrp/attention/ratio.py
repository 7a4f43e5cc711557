"""Relevance splitting among tokens: ratio-based splitting (paper Eq. 5) for as many summands as there are tokens."""

from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.ratio import RatioRule


@ATTENTIONS.register("ratio")
def ratio() -> Attention:
    """``R_V = |V| A^T (R / (A |V|))``; conserves, and is never negative."""
    return Attention(RatioRule())
