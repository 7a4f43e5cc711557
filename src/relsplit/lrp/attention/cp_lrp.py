"""CP-LRP, Ali et al., "XAI for Transformers: Better Explanations through Conservative Propagation", ICML 2022."""

from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.epsilon import Epsilon


@ATTENTIONS.register("cp_lrp")
def cp_lrp() -> Attention:
    """The attention weights are constants (section 3.2), the values take all by the epsilon rule, signs included."""
    return Attention(Epsilon())
