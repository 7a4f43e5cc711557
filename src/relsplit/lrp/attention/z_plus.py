"""The z+ rule for the values of an attention."""

from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.z_plus import ZPlus


@ATTENTIONS.register("z_plus")
def z_plus() -> Attention:
    """``R_V = V+ A^T (R / (A V+))``; a unit without positive values passes its relevance on by A alone."""
    return Attention(ZPlus())
