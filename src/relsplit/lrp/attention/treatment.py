"""What a treatment of attention is."""

from dataclasses import dataclass

from relsplit.lrp.rules.rule import Rule


@dataclass(frozen=True)
class Attention:
    """How relevance passes products of two activations, first of all attention weights times values.

    Attributes:
        rule: carries relevance to one factor, as through a linear layer whose weights are the other factor.
        to_weights: False: attention weights are a gate, and the values take all. True: weights and values take a half
            each; the weights' half goes on through the softmax to queries and keys.
    """

    rule: Rule
    to_weights: bool = False

    @property
    def conserves(self) -> bool:
        """Whether relevance is conserved: the softmax's bias takes a part of what the weights receive."""
        return self.rule.conserves and not self.to_weights
