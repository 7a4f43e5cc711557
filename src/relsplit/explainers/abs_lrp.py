"""absLRP: relative absolute magnitude layer-wise relevance propagation (Vukadin et al., 2024)."""

import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from relsplit.checks import checked_images, checked_target
from relsplit.errors import InputError
from relsplit.explainers.shared.abs_lrp_rules import (
    TINY,
    Contributions,
    of_function,
    of_layer,
    of_layer_norm,
    of_product,
    of_softmax,
    of_sum,
    pulled_back,
)
from relsplit.explainers.shared.self_attention import SelfAttention, attention_types, is_attention, self_attention
from relsplit.lrp.graph.kinds import KIND_OF_NAME, function_name, module_kind
from relsplit.lrp.graph.tracing import Traced, UnsupportedModelError, describe, size_nodes, trace
from relsplit.lrp.precision import full_precision
from relsplit.options import checked_options

Split = Callable[[Contributions, Tensor], list[Tensor]]
"""Relevance of the output of a step to that of each of its inputs."""
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_SAME = ("relu", "relu6", "leaky_relu", "dropout", "contiguous", "clone", "detach")
_CURVED = ("gelu", "silu", "mish", "hardswish", "sigmoid", "tanh", "elu", "celu", "selu", "softplus")
_MASKED_INDEX = ("flatten", "getitem", "select")


@checked_options
class AbsLRP:
    """Relevance by positive contributions, relative to the magnitude of what they contribute to.

    A step with output y gives its input x the relevance x * d/dx <y + y~, R / |y|>, where y~ is the step with the
    magnitudes of its weights on |x|: for a convolution sum_j max(w_ji x_i, 0) R_j / |y_j|. Then it is normalised.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import AbsLRP
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> relevance = AbsLRP(model, contrastive=False).attribute(torch.rand(2, 3, 16, 16))
        >>> torch.allclose(relevance.sum((1, 2, 3)), torch.ones(2))
        True

    Args:
        model: made of convolutions, linear layers, BatchNorm, LayerNorm, pooling, activations, additions, reshaping and
            self-attention (``nn.MultiheadAttention``, or that of timm's plain vision transformers), and traceable by
            ``torch.fx``.
        variant: ``"released"`` normalises what every input of a step gets to a total of 1, so that skip connection and
            residual branch always count the same, and zeroes relevance at negative activations where the released code
            (version of November 2024) does; ``"mass"`` is its earlier version, from the time of the paper's
            experiments: positive and negative relevance keep their totals at every step, and inputs share them by what
            they contribute. (Not where nothing contributes, and not at activations that are negative themselves.)
        contrastive: whether the relevance of all other classes is subtracted.

    Raises:
        InputError: an unknown variant, or a network that cannot be traced or has a step without a rule.
    """

    def __init__(
        self, model: nn.Module, variant: Literal["released", "mass"] = "released", contrastive: bool = True
    ) -> None:
        self._model = model
        self._released = variant == "released"
        self._split: Split = _each_to_one if self._released else _masses_kept
        self._contrastive = contrastive
        self._traced = self._trace()

    @property
    def forward_equivalents(self) -> float:
        """The forward pass and, as measured on ResNets and ViT-B/16, 7 a walk back, or 12 where signs go apart."""
        walks = 2 if self._contrastive and (self._released or _has_attention(self._traced[1])) else 1
        return 1.0 + walks * (7.0 if self._released else 12.0)

    def attribute(self, images: Tensor, target: "Tensor | int | None" = None) -> Tensor:
        """Relevance (N, 3, H, W) of images (N, 3, H, W) for a class.

        Its magnitudes sum to 1 (without ``contrastive``); with it, to at most 2, and its values to 0 or nearly so.

        Raises:
            InputError: images or target cannot be used.
        """
        images = checked_images(images)
        modules, traced = self._traced
        if modules != tuple(self._model.modules()):
            modules, traced = self._traced = self._trace()
        parameter = next(self._model.parameters(), images)
        if (parameter.dtype, parameter.device) != (images.dtype, images.device):
            raise InputError(
                f"images are {images.dtype} on {images.device}, the network is {parameter.dtype} on "
                f"{parameter.device}; bring both to the same"
            )
        with torch.inference_mode(False), torch.no_grad(), full_precision(images.device):
            walk = _Walk(traced, images.clone(), self._split, self._released)
            logits = walk.output
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
                raise InputError("model: its output must be class scores of shape (N, classes)")
            classes = logits.shape[1]
            chosen = logits.argmax(1) if target is None else checked_target(target, len(images), classes, logits.device)
            hot = torch.nn.functional.one_hot(chosen, classes).to(logits)
            if not self._contrastive:
                return walk.back(hot)
            if self._released or walk.has_attention:
                return _unit(walk.back(hot)) - _unit(walk.back((1 - hot) / max(classes - 1, 1)))
            return walk.back((1 + 1 / classes) * hot - 1 / classes)

    def _trace(self) -> tuple[tuple[nn.Module, ...], Traced]:
        traced = trace(self._model, (*attention_types(self._model), nn.LayerNorm))  # timm's is a subclass of it
        _check_steps(traced)
        return tuple(self._model.modules()), traced


class _Walk:
    """The values of one forward pass, and ways back from its output."""

    def __init__(self, traced: Traced, images: Tensor, split: Split, released: bool) -> None:
        self.modules = traced.modules
        self.split = split
        self.released = released
        self.nodes = list(traced.graph.nodes)
        self.has_attention = _has_attention(traced)
        interpreter = fx.Interpreter(traced.view, garbage_collect_values=False, graph=traced.graph)
        interpreter.run(images)
        self.values: dict[fx.Node, Any] = interpreter.env
        self.dependent = _dependent(traced.graph)
        self.image = next(node for node in self.nodes if node.op == "placeholder")
        result = self.nodes[-1].args[0]
        self.result = result if isinstance(result, fx.Node) else self.image
        self.output = self.values[result] if isinstance(result, fx.Node) else None
        self.has_additions = any(
            _name(node, self.modules) == "add" and len(self._tensors(node)) > 1 for node in self.nodes
        )

    def back(self, relevance: Tensor) -> Tensor:
        """Return the image's relevance, given that of the output."""
        arrived = {self.result: relevance}
        for node in reversed(self.nodes[:-1]):
            if node is self.image or node not in arrived:
                continue
            for source, part in self._step(node, arrived.pop(node)):
                arrived[source] = arrived[source] + part if source in arrived else part
        return arrived[self.image]

    def _tensors(self, node: fx.Node) -> list[fx.Node]:
        """Inputs that depend on the image and are tensors."""
        return [s for s in node.all_input_nodes if s in self.dependent and isinstance(self.values[s], Tensor)]

    def _step(self, node: fx.Node, relevance: Tensor) -> list[tuple[fx.Node, Tensor]]:
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if node.target is operator.getitem and isinstance(self.values[node.args[0]], tuple):  # type: ignore[index]
            return [(node.args[0], relevance)]  # type: ignore[list-item]  # attention's first output
        sources = self._tensors(node)
        if is_attention(module):
            attention = _self_attention(node, module)
            assert attention is not None, "checked before"
            if self.released and attention.dropout:
                relevance = relevance * (self.values[node] > 0)
            return [(sources[0], self._attention(self.values[sources[0]], attention, relevance))]
        parts = self._parts(node, module, sources, relevance)
        return list(zip(sources, parts, strict=True))

    def _parts(
        self, node: fx.Node, module: nn.Module | None, sources: list[fx.Node], relevance: Tensor
    ) -> list[Tensor]:
        name, kind = _name(node, self.modules), _kind(node, self.modules)
        x = self.values[sources[0]]
        if kind == "add":
            constant = self.values[node] - sum(self.values[source] for source in sources)
            return self.split(of_sum([self.values[source] for source in sources], constant), relevance)
        function = self._function(node, sources[0])
        if isinstance(module, nn.LayerNorm):
            return self.split(of_layer_norm(x, module), relevance)
        if isinstance(module, _NORMS) and not self.released:
            return [self._centred(x, module, relevance)]
        if isinstance(module, (*_LAYERS, *_NORMS)):
            return self.split(of_layer(x, module), relevance)
        if kind == "max" and self.released and not self.has_additions:
            undivided = of_function(x, function)  # as the released code does for VGG
            return self.split(Contributions(torch.ones_like(undivided.output), undivided.parts), relevance)
        if kind in ("mean", "max") or name in _CURVED:
            return self.split(of_function(x, function), relevance)
        if kind == "index":
            return self._index(name, function, sources, relevance)
        exempt = name == "identity" and self.has_attention
        masked = self.released and name in ("dropout", "identity") and not exempt
        return [relevance * (x > 0) if masked else relevance]

    def _index(
        self, name: str, function: Callable[[Tensor], Tensor], sources: list[fx.Node], r: Tensor
    ) -> list[Tensor]:
        """Relevance goes where its entry came from; what came from constants is thrown away."""
        if len(sources) > 1:
            raise InputError("abs_lrp: several activations are put together by one step, which has no rule")
        x = self.values[sources[0]]
        moved = pulled_back(function, x, r)
        return [moved * (x > 0) if self.released and name in _MASKED_INDEX else moved]

    def _function(self, node: fx.Node, source: fx.Node) -> Callable[[Tensor], Tensor]:
        """The step as a function of one of its inputs."""

        def run(x: Tensor) -> Tensor:
            def value(of: fx.Node) -> Any:
                return x if of is source else self.values[of]

            args: Any = fx.node.map_arg(node.args, value)
            kwargs: Any = fx.node.map_arg(node.kwargs, value)
            if node.op == "call_module":
                result = self.modules[str(node.target)](*args, **kwargs)
            elif node.op == "call_method":
                result = getattr(args[0], str(node.target))(*args[1:], **kwargs)
            else:
                result = node.target(*args, **kwargs)  # type: ignore[operator]
            return result  # type: ignore[no-any-return]

        return run

    def _centred(self, x: Tensor, module: Any, relevance: Tensor) -> Tensor:
        """Earlier version: BatchNorm as the affine map of x - mean, then the subtraction of the mean."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, variance = module.running_mean.view(shape), module.running_var.view(shape)
        slope = (torch.ones_like(variance) if module.weight is None else module.weight.view(shape)) / (
            variance + module.eps
        ).sqrt()
        centred = x - mean
        affine = Contributions(module(x), lambda q: [2 * (slope * centred).clamp(min=0) * q])
        (inner,) = self.split(affine, relevance)
        return self.split(of_sum([x], -mean), inner)[0]

    def _attention(self, x: Tensor, attention: SelfAttention, relevance: Tensor) -> Tensor:
        heads = attention.heads(x)
        weights = heads.scores.softmax(-1)
        mixed = (weights @ heads.value).transpose(1, 2).flatten(2)
        (relevance,) = self.split(of_layer(mixed, attention.output), relevance)
        relevance = relevance.view(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)
        of_weights, of_value = self.split(of_product(weights, heads.value, torch.matmul), relevance)
        (of_scores,) = self.split(of_softmax(heads.scores, -1), of_weights)
        product = of_product(heads.query, heads.key, lambda q, k: q @ k.transpose(-2, -1))
        of_query, of_key = self.split(product, of_scores)
        projected = torch.stack([of_query, of_key, of_value]).permute(1, 3, 0, 2, 4).flatten(2)
        layer = of_function(
            x,
            lambda v: torch.nn.functional.linear(v, attention.weight, attention.bias),
            lambda v: torch.nn.functional.linear(v, attention.weight.abs()),
        )
        return self.split(layer, projected)[0]


def _has_attention(traced: Traced) -> bool:
    return any(is_attention(module) for module in traced.modules.values())


def _self_attention(node: fx.Node, module: nn.Module | None) -> SelfAttention | None:
    """The attention that a node calls; the model's own further arguments (a mask) have their defaults."""

    def default(of: fx.Node) -> Any:
        return of.args[0] if of.op == "placeholder" and of.args else of

    args: Any = fx.node.map_arg(node.args, default)
    kwargs: Any = fx.node.map_arg(node.kwargs, default)
    return self_attention(module, args, kwargs)


def _each_to_one(contributions: Contributions, relevance: Tensor) -> list[Tensor]:
    return [_unit(part) for part in contributions.parts(relevance / (contributions.output.abs() + TINY))]


def _masses_kept(contributions: Contributions, relevance: Tensor) -> list[Tensor]:
    q = relevance / (contributions.output.abs() + TINY)
    totals: list[Tensor] = []
    for signed, sign in ((q.clamp(min=0), 1), (q.clamp(max=0), -1)):
        mass = (sign * relevance).clamp(min=0).flatten(1).sum(1)
        parts = contributions.parts(signed)
        size = sum(part.abs().flatten(1).sum(1) for part in parts)
        scaled = [part * (mass / (size + TINY**2)).view(-1, *[1] * (part.ndim - 1)) for part in parts]
        totals = [a + b for a, b in zip(totals, scaled, strict=True)] if totals else scaled
    return totals


def _unit(r: Tensor) -> Tensor:
    return r / (r.abs().flatten(1).sum(1).view(-1, *[1] * (r.ndim - 1)) + TINY)


def _name(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module":
        module = modules[str(node.target)]
        return "identity" if isinstance(module, nn.Identity) else module_kind(module)[1]
    return function_name(node.target) if node.op in ("call_function", "call_method") else ""


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module":
        return module_kind(modules[str(node.target)])[0]
    return KIND_OF_NAME.get(_name(node, modules), "")


def _dependent(graph: fx.Graph) -> dict[fx.Node, None]:
    """Activations, in order: all that depends on the image and is no size."""
    sizes = size_nodes(graph)
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "placeholder" or any(source in found for source in node.all_input_nodes if node not in sizes):
            found[node] = None
    return found


def _check_steps(traced: Traced) -> None:
    """Refuse what has no rule before any image is explained."""
    for node in _dependent(traced.graph):
        if node.op in ("placeholder", "output"):
            continue
        module = traced.modules.get(str(node.target)) if node.op == "call_module" else None
        name, kind = _name(node, traced.modules), _kind(node, traced.modules)
        if is_attention(module):
            known = _self_attention(node, module) is not None
        elif module is not None:
            known = isinstance(module, (*_LAYERS, *_NORMS, nn.LayerNorm, nn.Identity)) or _is_known(name, kind)
        else:
            known = _is_known(name, kind)
        if not known:
            raise UnsupportedModelError(f"abs_lrp: {describe(node)} has no rule: choose another explainer")


def _is_known(name: str, kind: str) -> bool:
    return kind in ("add", "mean", "max", "index") or name.startswith("dropout") or name in (*_SAME, *_CURVED)
