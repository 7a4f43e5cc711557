"""Compile a traced model into the operations that carry its relevance."""

from torch import fx

from relsplit.lrp.graph.facts import analyse
from relsplit.lrp.graph.rewriting import write_out
from relsplit.lrp.graph.tracing import Traced, UnsupportedModelError, describe, layer_path
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context, Options
from relsplit.lrp.operations.gate import Gate
from relsplit.lrp.operations.operation import Operation
from relsplit.lrp.operations.plain import Plain, Refused
from relsplit.lrp.program import Program
from relsplit.lrp.rules.choice import check_patterns


def compile_model(traced: Traced, options: Options) -> Program:
    """Choose the operation of every node that relevance reaches, from the output back to the image.

    Raises:
        UnsupportedModelError: relevance would reach a node that has no rule, or the output is no single tensor.
    """
    write_out(traced.graph)
    OPERATIONS.names()  # their files may declare kinds of their own, which the analysis has to know
    context = Context(traced, analyse(traced, tuple(options.leaves)), options)
    facts = context.facts
    nodes = list(traced.graph.nodes)
    result = nodes[-1].args[0]
    if not isinstance(result, fx.Node) or result not in facts.dependent:
        raise UnsupportedModelError("the model must return one tensor of class scores that depends on its image")
    operations: dict[fx.Node, Operation] = {}
    reached, perhaps = {result}, set[fx.Node]()
    for node in reversed(nodes[:-1]):
        if node.op == "placeholder":
            continue
        if node in reached | perhaps:
            operations[node] = _operation(node, context, refuse=node in reached)
            # The sizes of two factors, known with the images, say which of them is the signal.
            surely = node in reached and not (isinstance(operations[node], Gate) and len(operations[node].sources) > 1)
            (reached if surely else perhaps).update(operations[node].sources)
        else:
            operations[node] = Plain(node, context.evaluate(node))
    operations = dict(reversed(operations.items()))
    check_patterns(options.rules, [path for path in map(layer_path, nodes) if path])
    image = next(node for node in nodes if node.op == "placeholder")
    return Program(
        image, result, operations, _partial(operations, context), _releases(nodes, result, context),
        all(operation.conserves for operation in operations.values()), _places(image, result, context),
    )  # fmt: skip


def _operation(node: fx.Node, context: Context, refuse: bool) -> Operation:
    build = OPERATIONS.find(context.kind(node))
    operation = None if build is None else build(node, context)
    if operation is None and not refuse:
        return Refused(node, context.evaluate(node), _no_rule(node))
    if operation is None:
        raise UnsupportedModelError(_no_rule(node))
    return operation


def _no_rule(node: fx.Node) -> str:
    return (
        f"{describe(node)} has no relevance rule: supported are convolutions, linear layers, pooling, normalisation, "
        "activations, additions, gates, attention, and reshaping; give the module that holds it a rule in "
        "LRP(leaves={ItsClass: rule})"
    )


def _partial(operations: dict[fx.Node, Operation], context: Context) -> frozenset[fx.Node]:
    """Nodes with entries that may not depend on the image: those that make them so, and what reads these."""
    partial: set[fx.Node] = set()
    for node, operation in operations.items():
        if node in context.facts.constant_in_places or any(source in partial for source in operation.sources):
            partial.add(node)
    return frozenset(partial)


def _releases(nodes: list[fx.Node], result: fx.Node, context: Context) -> dict[fx.Node, tuple[fx.Node, ...]]:
    """What is read for the last time at a node."""
    last: dict[fx.Node, fx.Node] = {}
    for node in nodes[:-1]:
        last.setdefault(node, node)
        for source in node.all_input_nodes:
            last[source] = node
            if context.kind(source) == "tuple":
                last.update(dict.fromkeys(source.all_input_nodes, node))
    last.pop(result)
    releases: dict[fx.Node, tuple[fx.Node, ...]] = {}
    for dead, node in last.items():
        releases[node] = (*releases.get(node, ()), dead)
    return releases


def _places(image: fx.Node, result: fx.Node, context: Context) -> dict[fx.Node, tuple[str, ...]]:
    """Names of the places where the relevance sum is reported: the image, the blocks' inputs, the output."""
    places: dict[fx.Node, tuple[str, ...]] = {}
    blocks = [(residual.fork, residual.name) for residual in context.facts.residuals.values()]
    for node, name in [(image, "input"), *blocks, (result, "output")]:
        places[node] = (*places.get(node, ()), name)
    return places
