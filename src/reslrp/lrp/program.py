"""Compile a traced model into the operations that carry its relevance."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from reslrp.lrp import binding
from reslrp.lrp.analysis import Facts, analyse
from reslrp.lrp.operations import (
    Addition,
    Evaluate,
    Gate,
    IndexMap,
    Leaf,
    LeafRule,
    Linear,
    Operation,
    PassThrough,
    Plain,
    Winner,
)
from reslrp.lrp.propagation import Program
from reslrp.lrp.residuals import Residual
from reslrp.lrp.rules.choice import Place, RuleChoice
from reslrp.lrp.rules.rule import Rule
from reslrp.lrp.splitting.splitting import Splitting
from reslrp.lrp.tracing import Traced, UnsupportedModelError, describe, module_path


class Compiler:
    """Chooses the operation of every node that relevance reaches, from the output back to the image.

    Args:
        traced: the model.
        rules: the rule of every layer.
        input_rule: the rule of the first layers (those with no layer between them and the image).
        splitting: how relevance is divided at additions.
        include_identity: whether skip connections without layers receive any.
        max_pool: "average", "winner" or "average_2x2".
        leaves: rules of module types and functions that were kept whole.
    """

    def __init__(
        self,
        traced: Traced,
        *,
        rules: RuleChoice,
        input_rule: Rule,
        splitting: Splitting,
        include_identity: bool,
        max_pool: str,
        leaves: Mapping[Any, LeafRule],
    ) -> None:
        self.traced = traced
        self.rules = rules
        self.input_rule = input_rule
        self.splitting = splitting
        self.include_identity = include_identity
        self.max_pool = max_pool
        self.leaves = leaves
        self.facts: Facts = analyse(traced, tuple(leaves))

    def compile(self) -> Program:
        """Return the program.

        Raises:
            UnsupportedModelError: relevance would reach a node that has no rule, or the output is no single tensor.
        """
        graph = self.traced.graph
        nodes = list(graph.nodes)
        images = [node for node in nodes if node.op == "placeholder"]
        result = nodes[-1].args[0]
        if not isinstance(result, fx.Node) or result not in self.facts.dependent:
            raise UnsupportedModelError(
                "the model must return one tensor of class scores that depends on its image: wrap it in a module that "
                f"returns it alone (it returns {type(result).__name__})"
            )
        operations: dict[fx.Node, Operation] = {}
        reached = {result}
        for node in reversed(nodes[:-1]):
            if node in images:
                continue
            if node in reached:
                operation, sources = self._operation(node)
                reached.update(sources)
            else:
                operation = Plain(node, self._evaluate(node))
            operations[node] = operation
        operations = dict(reversed(operations.items()))
        padded: dict[fx.Node, PassThrough | IndexMap] = {}
        for node, operation in operations.items():
            if (
                isinstance(operation, IndexMap)
                and (node in self.facts.pads or any(s in padded for s in operation.sources))
            ) or (isinstance(operation, PassThrough) and operation.source in padded):
                padded[node] = operation
        return Program(images[0], result, operations, padded, self._releases(nodes, result), self._places(result))

    def _operation(self, node: fx.Node) -> tuple[Operation, tuple[fx.Node, ...]]:
        facts = self.facts
        kind, name = facts.kinds[node]
        sources = tuple(source for source in node.all_input_nodes if source in facts.dependent)
        evaluate = self._evaluate(node)
        first = sources[0]
        if kind == "leaf":
            target = self.traced.modules[str(node.target)] if node.op == "call_module" else node.target
            return Leaf(node, evaluate, first, self._leaf_rule(target)), (first,)
        if kind == "pass" and len(sources) == 1:
            return PassThrough(node, evaluate, first), (first,)
        if kind == "index":
            return self._index_map(node, evaluate)
        if node in facts.residuals:
            return self._addition(node, facts.residuals[node])
        if kind in ("add", "subtract", "multiply", "divide") and len(sources) == 1 and _is_linear_in(node, first):
            return PassThrough(node, evaluate, first), (first,)
        if kind == "multiply" and len(sources) == 2:
            gates = [source for source in sources if facts.is_gate(source)]
            gate = gates[0] if len(gates) == 1 else None
            signals = tuple(source for source in sources if source is not gate)
            return Gate(node, evaluate, (sources[0], sources[1]), gate, describe(node)), signals
        if kind == "max" and self.max_pool == "winner":
            return Winner(node, evaluate, first), (first,)
        bind = self._bind(node, kind, name, evaluate)
        if bind is None or first is not node.args[0]:
            raise UnsupportedModelError(
                f"{describe(node)} has no relevance rule: supported are convolutions, linear layers, pooling, "
                "normalisation, activations, additions, gates, and reshaping; give the module that holds it a rule in "
                "LRP(leaves={ItsClass: rule})"
            )
        return Linear(node, evaluate, first, bind, self._rule(node), first in facts.nonnegative), (first,)

    def _bind(self, node: fx.Node, kind: str, name: str, evaluate: Evaluate) -> binding.Bind | None:
        module: Any = self.traced.modules[str(node.target)] if node.op == "call_module" else None
        if kind == "convolution":
            if module is not None:
                return binding.bind_convolution_module(module)
            return binding.bind_convolution_function(node, name)
        if kind == "dense":
            return binding.bind_dense_module(module) if module is not None else binding.bind_dense_function(node)
        if kind == "mean":
            return binding.bind_map(node, evaluate)
        if kind == "max":
            return binding.bind_average_over_max_window(node, name, module, two_by_two=self.max_pool == "average_2x2")
        return None

    def _rule(self, node: fx.Node) -> Rule:
        if node in self.facts.first_layers:
            return self.input_rule
        path = str(node.target) if node.op == "call_module" else module_path(node)
        return self.rules.rule_at(Place(path, self.facts.residuals_before[node]))

    def _addition(self, node: fx.Node, residual: Residual) -> tuple[Operation, tuple[fx.Node, ...]]:
        negated = node.args[1] if self.facts.kinds[node][0] == "subtract" else None
        split = self.splitting if self.include_identity or not residual.identity else None
        operation = Addition(
            node,
            self._evaluate(node),
            residual.skip,
            residual.branch,
            negated if isinstance(negated, fx.Node) else None,
            split,
        )
        return operation, (residual.branch,) if split is None else (residual.skip, residual.branch)

    def _index_map(self, node: fx.Node, evaluate: Evaluate) -> tuple[Operation, tuple[fx.Node, ...]]:
        parts = node.args[0]
        if isinstance(parts, fx.Node) and self.facts.kinds[parts][0] == "tuple":
            # One part of a split: seen from its source, splitting and taking the part are one index map.
            whole, split, index = parts, self._evaluate(parts), node.args[1]

            def compute(value: Callable[[fx.Node], Any]) -> Any:
                return split(*fx.node.map_arg(whole.args, value), **fx.node.map_arg(whole.kwargs, value))[index]

            read = whole.all_input_nodes
        else:

            def compute(value: Callable[[fx.Node], Any]) -> Any:
                return evaluate(*fx.node.map_arg(node.args, value), **fx.node.map_arg(node.kwargs, value))

            read = node.all_input_nodes
        sources = tuple(source for source in read if source in self.facts.dependent and source not in self.facts.sizes)
        constants = tuple(source for source in read if source not in sources)
        return IndexMap(node, evaluate, sources, constants, compute), sources

    def _leaf_rule(self, target: Any) -> LeafRule:
        return next(
            rule
            for leaf, rule in self.leaves.items()
            if leaf is target or (isinstance(leaf, type) and isinstance(target, leaf))
        )

    def _evaluate(self, node: fx.Node) -> Evaluate:
        evaluate = self._function(node)
        # Code that was not traced may rely on the memory format that the model itself would have given it.
        return _on_contiguous(evaluate) if self.facts.kinds.get(node, ("", ""))[0] == "leaf" else evaluate

    def _function(self, node: fx.Node) -> Evaluate:
        if node.op == "call_module":
            return self.traced.modules[str(node.target)].forward
        if node.op == "get_attr":
            return _attribute_reader(self.traced.view, str(node.target))
        if node.op == "call_method":
            return operator_of_method(str(node.target))
        function: Evaluate = node.target  # type: ignore[assignment]  # op call_function: its target is the function
        return function

    def _releases(self, nodes: list[fx.Node], result: fx.Node) -> dict[fx.Node, tuple[fx.Node, ...]]:
        last: dict[fx.Node, fx.Node] = {}
        for node in nodes[:-1]:
            last.setdefault(node, node)
            for source in node.all_input_nodes:
                last[source] = node
                if self.facts.kinds.get(source, ("", ""))[0] == "tuple":
                    last.update(dict.fromkeys(source.all_input_nodes, node))
        last.pop(result)
        releases: dict[fx.Node, tuple[fx.Node, ...]] = {}
        for dead, node in last.items():
            releases[node] = (*releases.get(node, ()), dead)
        return releases

    def _places(self, result: fx.Node) -> dict[fx.Node, tuple[str, ...]]:
        places: dict[fx.Node, tuple[str, ...]] = {}
        image = next(node for node in self.traced.graph.nodes if node.op == "placeholder")
        named = [(image, "input"), *((r.fork, r.name) for r in self.facts.residuals.values()), (result, "output")]
        for node, name in named:
            places[node] = (*places.get(node, ()), name)
        return places


def operator_of_method(name: str) -> Evaluate:
    """Return the function that calls the method ``name``."""
    if name == "view":  # the engine's tensors may be channels last in memory, where the model's own were not
        name = "reshape"

    def call(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(tensor, name)(*args, **kwargs)

    return call


def _on_contiguous(evaluate: Evaluate) -> Evaluate:
    def contiguous(value: Any) -> Any:
        return value.contiguous() if isinstance(value, Tensor) else value

    def call(*args: Any, **kwargs: Any) -> Any:
        mapped: Any = fx.node.map_aggregate((args, kwargs), contiguous)
        return evaluate(*mapped[0], **mapped[1])

    return call


def _attribute_reader(view: nn.Module, path: str) -> Evaluate:
    def read() -> Tensor:
        value: Any = view
        for name in path.split("."):
            value = getattr(value, name)
        return value  # type: ignore[no-any-return]

    return read


def _is_linear_in(node: fx.Node, source: fx.Node) -> bool:
    """A quotient is linear in its numerator only."""
    return node.target not in (operator.truediv, "div", "divide") or node.args[0] is source
