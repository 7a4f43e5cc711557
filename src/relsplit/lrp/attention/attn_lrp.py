"""AttnLRP, Achtibat et al., "Attention-Aware Layer-Wise Relevance Propagation for Transformers", ICML 2024."""

from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.epsilon import Epsilon


@ATTENTIONS.register("attn_lrp")
def attn_lrp() -> Attention:
    """Halves by the epsilon rule for each product (Eq. 14), ``x (R - s sum R)`` for the softmax (Eq. 13).

    The softmax's bias takes a part, so that relevance is not conserved.
    """
    return Attention(Epsilon(), to_weights=True)
