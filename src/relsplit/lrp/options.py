"""The options of :class:`relsplit.LRP`, understood."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.leaf_rules import LeafRule
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting

MaxPool = Literal["average", "winner", "average_2x2"]
"""How max pooling passes relevance on."""


@dataclass(frozen=True)
class Options:
    """The options of :class:`relsplit.LRP`, understood.

    Attributes:
        rules: the rule of every layer.
        input_rule: the rule of the first layers (those with no layer between them and the input).
        splitting: how relevance is divided at additions.
        include_identity: whether skip connections without layers receive any.
        max_pool: "average", "winner" or "average_2x2".
        leaves: rules of module types and functions that are kept whole.
        attention: how products of two activations pass relevance on.
        by_slope: whether relevance passes values without the sign of what they are made of by their slope, so that
            contributions keep their signs; see :mod:`relsplit.lrp.operations.by_slope`.
    """

    rules: RuleChoice
    input_rule: Rule
    splitting: Splitting
    include_identity: bool
    max_pool: MaxPool
    leaves: Mapping[Any, LeafRule]
    attention: Attention
    by_slope: bool = False
