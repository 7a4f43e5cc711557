"""What the graph alone tells: what depends on the image, what cannot be negative, where the residual blocks are."""

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from relsplit.lrp.graph.kinds import (
    JOINING_NAMES,
    KIND_OF_NAME,
    function_name,
    is_gate_function,
    is_nonnegative_function,
    module_kind,
)
from relsplit.lrp.graph.residual_blocks import Residual, find_residuals
from relsplit.lrp.graph.tracing import Traced, UnsupportedModelError, describe, size_nodes

_SIGN_KEEPING = {"dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous", "clone", "detach", "to", "float"}
_SIGN_KEEPING |= {"double", "half", "bfloat16", "type_as", "clamp_min"}
_SCALING = {"index", "multiply", "divide"}
"""What a gate may go through before it multiplies."""
_SIGN_KEEPING_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

_WEIGHTED = {"convolution", "dense"}


@dataclass(frozen=True)
class Facts:
    """Facts about the nodes of one graph."""

    kinds: dict[fx.Node, tuple[str, str]]  # ("convolution", "conv2d"), ...; ("", "") if unknown
    sizes: set[fx.Node]  # plain Python values
    dependent: set[fx.Node]  # tensors that depend on the image
    nonnegative: set[fx.Node]  # tensors that cannot be negative
    constant_in_places: set[fx.Node]  # index maps with entries that do not depend on the image (padding, a class token)
    first_layers: set[fx.Node]  # layers with no other between them and the image
    residuals: dict[fx.Node, Residual]  # additions of two activations
    residuals_before: dict[fx.Node, int]  # how many of them come before a node
    layers_before: dict[fx.Node, float]  # share of the convolutions and dense layers that come before a node, in [0, 1]

    def is_gate(self, node: fx.Node) -> bool:
        """Say whether a value comes from a sigmoid or the like, possibly reshaped, masked, scaled or converted."""
        return self._comes_from_gate(node, _SCALING)

    def is_attention(self, node: fx.Node) -> bool:
        """Say whether a factor of a matrix product holds attention weights, possibly mixed over the heads or summed."""
        return self._comes_from_gate(node, _SCALING | {"dense", "convolution", "add"})

    def _comes_from_gate(self, node: fx.Node, through: set[str]) -> bool:
        """Go back through nodes of these kinds."""
        kind, name = self.kinds[node]
        if is_gate_function(name):
            return True
        if kind not in through and name not in _SIGN_KEEPING | {"identity"}:
            return False
        sources = [source for source in node.all_input_nodes if source in self.dependent]
        if kind == "divide":
            sources = [source for source in sources if source is node.args[0]]
        if name == "where":  # the condition comes first
            sources = sources[-1:]
        if kind in ("index", "multiply") and len(sources) != 1:
            return False
        return bool(sources) and all(self._comes_from_gate(source, through) for source in sources)


def analyse(traced: Traced, leaves: tuple[Any, ...]) -> Facts:
    """Establish the facts about a traced model."""
    graph = traced.graph
    sizes = size_nodes(graph)
    kinds = {node: _kind(node, traced, leaves) for node in graph.nodes}
    images = [node for node in graph.nodes if node.op == "placeholder"]
    if not images or any(image.users and image is not images[0] for image in images):
        raise UnsupportedModelError(
            f"the model must take one tensor of images, not {[image.name for image in images]}: wrap it in a module "
            "that fixes its other inputs"
        )
    dependent = {images[0]}
    layers = {node for node in graph.nodes if kinds[node][0] in ("convolution", "dense", "leaf")}
    depth = {images[0]: 0}
    for node in graph.nodes:
        if node not in sizes and any(source in dependent for source in node.all_input_nodes):
            dependent.add(node)
            before = max(depth[source] for source in node.all_input_nodes if source in dependent)
            depth[node] = before + (node in layers)
    first_layers = {node for node in dependent & layers if depth[node] == 1 and kinds[node][0] != "leaf"}
    additions = []
    for node in graph.nodes:
        if kinds[node][0] in ("add", "subtract") and len([s for s in node.all_input_nodes if s in dependent]) == 2:
            if node.kwargs.get("alpha", 1) != 1 or len(node.args) != 2:
                raise UnsupportedModelError(f"{describe(node)} must have two arguments by position and no alpha")
            first, second = node.all_input_nodes
            additions.append((node, first, second))
    residuals = find_residuals(additions, layers)
    residuals_before, count = {}, 0
    for node in graph.nodes:
        residuals_before[node] = count
        count += node in residuals
    weighted = {node for node in graph.nodes if kinds[node][0] in _WEIGHTED and node in dependent}
    layers_before: dict[fx.Node, float] = {}
    passed = 0
    for node in graph.nodes:
        layers_before[node] = passed / max(len(weighted), 1)
        passed += node in weighted
    constant_in_places = {
        node
        for node in graph.nodes
        if node in dependent
        and (_pads_constant(node, traced, kinds) is not None or _joins(node, kinds, sizes, dependent))
    }
    nonnegative: set[fx.Node] = set()
    for node in graph.nodes:
        if node in dependent and _cannot_be_negative(node, traced, kinds, dependent, nonnegative):
            nonnegative.add(node)
    return Facts(
        kinds,
        sizes,
        dependent,
        nonnegative,
        constant_in_places,
        first_layers,
        residuals,
        residuals_before,
        layers_before,
    )


def _kind(node: fx.Node, traced: Traced, leaves: tuple[Any, ...]) -> tuple[str, str]:
    if node.op in ("call_function", "call_method"):
        if node.op == "call_function" and node.target in [leaf for leaf in leaves if not isinstance(leaf, type)]:
            return "leaf", ""
        name = function_name(node.target)
        kind = KIND_OF_NAME.get(name, "")
        if kind == "interpolate":
            mode = node.kwargs.get("mode", node.args[3] if len(node.args) > 3 else "nearest")
            return "mean", "upsample_bicubic2d" if mode == "bicubic" else name
        return kind, name
    if node.op != "call_module":
        return "", ""
    module = traced.modules[str(node.target)]
    if isinstance(module, tuple(leaf for leaf in leaves if isinstance(leaf, type))):
        return "leaf", ""
    return module_kind(module)


def _joins(node: fx.Node, kinds: dict[fx.Node, tuple[str, str]], sizes: set[fx.Node], dependent: set[fx.Node]) -> bool:
    """Say whether a node puts entries of constants beside entries that depend on the image."""
    name = kinds[node][1]
    if name == "masked_fill":
        return True
    return (
        name in JOINING_NAMES
        and any(source not in dependent and source not in sizes for source in node.all_input_nodes)
    ) or (name == "where" and any(not isinstance(arg, fx.Node) for arg in node.args))


def _pads_constant(node: fx.Node, traced: Traced, kinds: dict[fx.Node, tuple[str, str]]) -> float | None:
    """Return the constant that a node pads with, or None if it is no constant padding."""
    if node.op == "call_module":
        module: Any = traced.modules[str(node.target)]
        return float(module.value) if isinstance(module, nn.modules.padding._ConstantPadNd) else None
    if kinds[node][1] != "pad":
        return None
    given = dict(zip(("mode", "value"), node.args[2:], strict=False)) | node.kwargs
    return float(given.get("value") or 0) if given.get("mode", "constant") == "constant" else None  # type: ignore[arg-type]


def _cannot_be_negative(
    node: fx.Node,
    traced: Traced,
    kinds: dict[fx.Node, tuple[str, str]],
    dependent: set[fx.Node],
    nonnegative: set[fx.Node],
) -> bool:
    kind, name = kinds[node]
    if is_nonnegative_function(name):
        return True
    if node.op == "placeholder":
        return False
    if (_pads_constant(node, traced, kinds) or 0) < 0:
        return False
    keeps = kind in ("index", "tuple", "mean", "max", "add", "multiply") or name in _SIGN_KEEPING
    if node.op == "call_module":
        keeps = keeps or isinstance(traced.modules[str(node.target)], _SIGN_KEEPING_MODULES)
    tensors = [source for source in node.all_input_nodes if source in dependent]
    if kind in ("add", "multiply") and len(tensors) != 2:
        return False
    return keeps and all(source in nonnegative for source in tensors)
