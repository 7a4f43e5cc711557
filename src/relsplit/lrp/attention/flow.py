"""Relevance flows along the attention weights, whatever the values are."""

from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.flow import Flow


@ATTENTIONS.register("flow")
def flow() -> Attention:
    """``R_V = A^T R``: the rows of A sum to 1; they are made to where a token does not depend on the image."""
    return Attention(Flow())
