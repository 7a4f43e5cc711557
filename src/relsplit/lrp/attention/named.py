"""The treatments of attention that have a name: three that conserve relevance, and two of the literature's."""

from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.flow import Flow
from relsplit.lrp.rules.ratio import RatioRule
from relsplit.lrp.rules.z_plus import ZPlus


@ATTENTIONS.register("ratio")
def ratio() -> Attention:
    """Relevance splitting (paper Eq. 5) among tokens: ``R_V = |V| A^T (R / (A |V|))``; it is never negative."""
    return Attention(RatioRule())


@ATTENTIONS.register("z_plus")
def z_plus() -> Attention:
    """``R_V = V+ A^T (R / (A V+))``; a unit without positive values passes its relevance on by A alone."""
    return Attention(ZPlus())


@ATTENTIONS.register("flow")
def flow() -> Attention:
    """Relevance flows along the attention weights, whatever the values are: ``R_V = A^T R``.

    The rows of A sum to 1; they are made to where a token does not depend on the image.
    """
    return Attention(Flow())


@ATTENTIONS.register("cp_lrp")
def cp_lrp() -> Attention:
    """CP-LRP (Ali et al., "XAI for Transformers: Better Explanations through Conservative Propagation", ICML 2022).

    The attention weights are constants (section 3.2), the values take all by the epsilon rule, signs included.
    """
    return Attention(Epsilon())


@ATTENTIONS.register("attn_lrp")
def attn_lrp() -> Attention:
    """AttnLRP (Achtibat et al., "Attention-Aware Layer-Wise Relevance Propagation for Transformers", ICML 2024).

    Halves by the epsilon rule for each product (Eq. 14), ``x (R - s sum R)`` for the softmax (Eq. 13), whose bias takes
    a part, so that relevance is not conserved.
    """
    return Attention(Epsilon(), to_weights=True)
