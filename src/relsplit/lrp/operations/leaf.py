"""A module or function that its user gave a rule of its own."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from relsplit.errors import InputError
from relsplit.lrp.leaf_rules import LeafRule
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Passed, Values


@dataclass(frozen=True)
class Leaf:
    """Kept whole; its user's rule carries the relevance to its first input."""

    node: fx.Node
    evaluate: Evaluate
    source: fx.Node
    rule: LeafRule

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return (self.source,)

    @property
    def conserves(self) -> bool:
        return False  # a user's rule may do anything

    def forward(self, values: Values) -> tuple[Any, Any]:
        known = {source: values.of(source) for source in self.node.all_input_nodes}

        def function(h: Tensor) -> Any:
            changed = {**known, self.source: h}
            args = fx.node.map_arg(self.node.args, changed.__getitem__)
            return self.evaluate(*args, **fx.node.map_arg(self.node.kwargs, changed.__getitem__))

        output = function(known[self.source])
        if not isinstance(output, Tensor):
            raise InputError(
                f"leaves: '{self.node.target}' returns a {type(output).__name__}: a leaf must return one tensor; wrap "
                "it in a module that does, and name that one"
            )
        return output, (known[self.source], function)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        h, function = saved
        result = self.rule(function, h.to(relevance.dtype), relevance)
        if result.shape != h.shape:
            raise InputError(
                f"leaves: the rule of '{self.node.target}' returned relevance of shape {tuple(result.shape)} for an "
                f"input of shape {tuple(h.shape)}: return one value per input entry"
            )
        return [(self.source, result.clone())]  # what a user's rule returns may be the user's

    def support(self, values: Values) -> Tensor | None:
        return None


@OPERATIONS.register("leaf")
def leaf(node: fx.Node, context: Context) -> Leaf:
    """Build the operation of what ``LRP(leaves=...)`` names."""
    module = context.module(node)
    target = node.target if module is None else module
    rule = next(
        rule
        for leaf, rule in context.options.leaves.items()
        if leaf is target or (isinstance(leaf, type) and isinstance(target, leaf))
    )
    return Leaf(node, context.evaluate(node), context.sources(node)[0], rule)
