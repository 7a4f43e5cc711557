"""Compile a traced model into the operations that carry its relevance."""

from torch import fx

from relsplit.lrp.graph.facts import analyse
from relsplit.lrp.graph.tracing import Traced, UnsupportedModelError, describe, layer_path
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context, Options
from relsplit.lrp.operations.index_map import IndexMap
from relsplit.lrp.operations.operation import KeepsSupport, Operation
from relsplit.lrp.operations.pass_through import PassThrough
from relsplit.lrp.operations.plain import Plain
from relsplit.lrp.program import Program
from relsplit.lrp.rules.choice import check_patterns


def compile_model(traced: Traced, options: Options) -> Program:
    """Choose the operation of every node that relevance reaches, from the output back to the image.

    Raises:
        UnsupportedModelError: relevance would reach a node that has no rule, or the output is no single tensor.
    """
    OPERATIONS.names()  # their files may declare kinds of their own, which the analysis has to know
    context = Context(traced, analyse(traced, tuple(options.leaves)), options)
    facts = context.facts
    nodes = list(traced.graph.nodes)
    result = nodes[-1].args[0]
    if not isinstance(result, fx.Node) or result not in facts.dependent:
        raise UnsupportedModelError(
            "the model must return one tensor of class scores that depends on its image: wrap it in a module that "
            f"returns it alone (it returns {type(result).__name__})"
        )
    operations: dict[fx.Node, Operation] = {}
    reached = {result}
    for node in reversed(nodes[:-1]):
        if node.op == "placeholder":
            continue
        if node in reached:
            operations[node] = _operation(node, context)
            reached.update(operations[node].sources)
        else:
            operations[node] = Plain(node, context.evaluate(node))
    operations = dict(reversed(operations.items()))
    check_patterns(options.rules, [path for path in map(layer_path, nodes) if path])
    image = next(node for node in nodes if node.op == "placeholder")
    return Program(
        image, result, operations, _padded(operations, context), _releases(nodes, result, context),
        _places(image, result, context),
    )  # fmt: skip


def _operation(node: fx.Node, context: Context) -> Operation:
    build = OPERATIONS.find(context.kind(node))
    operation = None if build is None else build(node, context)
    if operation is None:
        raise UnsupportedModelError(
            f"{describe(node)} has no relevance rule: supported are convolutions, linear layers, pooling, "
            "normalisation, activations, additions, gates, and reshaping; give the module that holds it a rule in "
            "LRP(leaves={ItsClass: rule})"
        )
    return operation


def _padded(operations: dict[fx.Node, Operation], context: Context) -> dict[fx.Node, KeepsSupport]:
    """Nodes that pad, and those that hand padding on."""
    padded: dict[fx.Node, KeepsSupport] = {}
    for node, operation in operations.items():
        from_padded = any(source in padded for source in operation.sources)
        if (isinstance(operation, IndexMap) and (node in context.facts.pads or from_padded)) or (
            isinstance(operation, PassThrough) and from_padded
        ):
            padded[node] = operation
    return padded


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
