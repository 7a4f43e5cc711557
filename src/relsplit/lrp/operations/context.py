"""What is known while a model is compiled: its graph, the facts about it, and the user's options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import fx, nn

from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.graph.facts import Facts
from relsplit.lrp.graph.fast_forward import fast_forward
from relsplit.lrp.graph.functions import function_of
from relsplit.lrp.graph.tracing import Traced, layer_path
from relsplit.lrp.leaf_rules import LeafRule
from relsplit.lrp.operations.operation import Evaluate
from relsplit.lrp.rules.rule import Place, Rule, RuleChoice
from relsplit.lrp.splitting.splitting import Splitting

MaxPool = Literal["average", "winner", "average_2x2"]
"""How max pooling passes relevance on."""


@dataclass(frozen=True)
class Options:
    """The options of :class:`relsplit.LRP`, understood.

    Attributes:
        rules: the rule of every layer.
        input_rule: the rule of the first layers (those with no layer between them and the image).
        splitting: how relevance is divided at additions.
        include_identity: whether skip connections without layers receive any.
        max_pool: "average", "winner" or "average_2x2".
        leaves: rules of module types and functions that were kept whole.
        attention: how products of two activations pass relevance on.
    """

    rules: RuleChoice
    input_rule: Rule
    splitting: Splitting
    include_identity: bool
    max_pool: MaxPool
    leaves: Mapping[Any, LeafRule]
    attention: Attention


@dataclass(frozen=True)
class Context:
    """One model on its way to a program."""

    traced: Traced
    facts: Facts
    options: Options
    fast: Mapping[fx.Node, Evaluate] = field(init=False)

    def __post_init__(self) -> None:
        leaves = {node for node in self.traced.graph.nodes if self.kind(node) == "leaf"}
        object.__setattr__(self, "fast", fast_forward(self.traced, leaves))

    def kind(self, node: fx.Node) -> str:
        """Return the kind of a node, "" if it is unknown."""
        return self.facts.kinds[node][0]

    def name(self, node: fx.Node) -> str:
        """Return the name of a node's function, "" if it is unknown."""
        return self.facts.kinds[node][1]

    def sources(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs of a node that depend on the image."""
        return tuple(source for source in node.all_input_nodes if source in self.facts.dependent)

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls, None where it calls none."""
        return self.traced.modules[str(node.target)] if node.op == "call_module" else None

    def evaluate(self, node: fx.Node) -> Evaluate:
        """Return the function that computes a node's value from its arguments."""
        return self.fast.get(node) or function_of(node, self.traced, untraced=self.kind(node) == "leaf")

    def rule(self, node: fx.Node) -> Rule:
        """Return the rule of a layer."""
        if node in self.facts.first_layers:
            return self.options.input_rule
        facts = self.facts
        place = Place(layer_path(node), facts.residuals_before[node], facts.layers_before[node], self.kind(node))
        return self.options.rules.rule_at(place)
