"""LRP-epsilon (Bach et al., 2015), by captum: as the paper ran it, and as it should be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import captum.attr
import torch
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, IdentityRule
from torch import Tensor, fx, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.module_per_step import one_module_per_step
from relsplit.networks.answer import Scores
from relsplit.networks.inputs import Given, Inputs
from relsplit.networks.outputs import OutputChoice, obvious_part
from relsplit.networks.shared_network import Call, SharedNetwork, summed_by_sample
from relsplit.networks.views import shared_copy
from relsplit.options import Limits, checked_options
from relsplit.targets.target import Target

LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POOLINGS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)


@checked_options
class LRPEpsilon:
    """Relevance of the logit, passed down by the epsilon rule in every layer, biases included.

    Examples:
        >>> import torch
        >>> from torchvision.models import resnet18
        >>> from relsplit.explainers import LRPEpsilon
        >>> tuple(LRPEpsilon(resnet18(num_classes=5)).attribute(torch.rand(2, 3, 32, 32), target=3).shape)
        (2, 3, 32, 32)

    Args:
        model: made of convolutions, Linear, BatchNorm, pooling, ReLU, Tanh, Dropout and additions; ``"correct"`` needs
            that ``torch.fx`` can trace it.
        variant: ``"published"`` runs captum on the network as it is. captum does not see functional additions, so that
            each residual connection's relevance is counted more than once and the sums grow by orders of magnitude.
            ``"correct"`` runs it on the same network with every addition as a module; on ReLU networks the result is
            Input x Gradient.
        rule: ``"epsilon"``, or ``"mixture"`` (paper Table C): alpha1-beta0 up to the residual block number ``blocks``
            (BatchNorm passes relevance on there), epsilon after it.
        epsilon: stabiliser of every denominator (captum's default, published: 1e-9).
        blocks: where the mixture changes (published: 8, ResNet50's layer3.0).
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an unknown value of an option.
    """

    forward_equivalents = 3.0
    """The network runs twice, and back once."""

    def __init__(
        self,
        model: nn.Module,
        variant: Literal["published", "correct"] = "published",
        rule: Literal["epsilon", "mixture"] = "epsilon",
        epsilon: Annotated[float, Limits(minimum=0)] = 1e-9,
        blocks: Annotated[int, Limits(minimum=0)] = 8,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._correct = variant == "correct"
        self._epsilon = epsilon
        self._blocks = blocks if rule == "mixture" else None

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Relevance of the inputs' shape in units of the logit, or of what a target that is a function says.

        In the precision of the inputs, or in float64 where ``"published"`` does not fit: on a ResNet101 the relevance
        that it counts again and again or its sum exceeds float32's 3e38.

        Raises:
            InputError: a module that captum has no rule for, such as an embedding of tokens, or a network that cannot
                be traced or answers something else when it is.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            if not all(tensor.is_floating_point() for tensor in call.inputs.tensors):
                raise InputError(
                    f"lrp_epsilon: captum has no rule for the embedding of tokens; given are {call.inputs}"
                )
            network = shared_copy(call.network)
            if self._correct:
                network = one_module_per_step(call.network)
                call.choose(network)
            lower: frozenset[str] = frozenset()
            if self._blocks is not None:
                steps = network if isinstance(network, fx.GraphModule) else one_module_per_step(call.network)
                lower = _modules_up_to_block(steps, self._blocks)
            column = _column(call, obvious_part(call.inputs.answered(network)), network)
            relevance = self._relevance(network, call.inputs, column, lower)
            if not all(torch.isfinite(each.abs().flatten(1).sum(dim=1)).all() for each in relevance):
                relevance = self._relevance(network, call.inputs.each(Tensor.double), column, lower)
        return call.inputs.arranged(relevance)

    def _relevance(self, network: nn.Module, inputs: Inputs, column: "_Column", lower: frozenset[str]) -> list[Tensor]:
        # captum leaves activations and, for some rules, other weights on the modules: a copy for this run alone.
        network = shared_copy(network).to(inputs.tensors[0].dtype)
        self._set_rules(network, lower)
        given = tuple(tensor.detach().clone().requires_grad_() for tensor in inputs.tensors)
        try:
            relevance = _LRP(_Columns(network, inputs, column)).attribute(given, column.index)
        except TypeError as error:
            raise InputError(self._unruled(error)) from error
        return [(each * column.sign.reshape(-1, *[1] * (each.dim() - 1))).detach() for each in relevance]

    def _unruled(self, error: TypeError) -> str:
        """Say which kind of module captum has no rule for, and what to do."""
        kind = re.search(r"<class '(?:\w+\.)*(\w+)'>", str(error))
        name = "a module of the network" if kind is None else f"modules like {kind[1]}"
        here = "" if self._correct else 'variant="correct" (which needs none for flattening and what does nothing), or '
        return f'lrp_epsilon: captum has no rule for {name}: use {here}relsplit.LRP(model, rule="epsilon")'

    def _set_rules(self, network: nn.Module, lower: frozenset[str]) -> None:
        for name, module in network.named_modules():
            if name in lower and isinstance(module, LINEAR):
                module.rule = Alpha1_Beta0_Rule()
            elif name in lower and isinstance(module, NORMS):
                module.rule = IdentityRule()
            elif isinstance(module, (*LINEAR, *POOLINGS, *NORMS, Addition_Module)):
                module.rule = EpsilonRule(self._epsilon)


@dataclass(frozen=True)
class _Column:
    """Which column of scores captum explains.

    Attributes:
        index: of each sample, (N,).
        sign: that its relevance is multiplied by, (N,).
        start: the relevance that an output begins with, if it is not that of one of its own columns.
    """

    index: Tensor
    sign: Tensor
    start: Tensor | None = None


def _column(call: Call, output: Any, network: nn.Module) -> _Column:
    if callable(call.explained):
        part = call.part(output)
        call.check_same(part, network)
        start = call.explained(part.detach())
        summed_by_sample(call.explained, part.detach())  # what the target does not allow is said here
        count = torch.zeros(len(part), dtype=torch.int64, device=part.device)
        return _Column(count, torch.ones_like(count), start)
    answer = call.checked(output, network)
    classes = answer.classes(call.explained)
    if answer.is_single:  # of class 1; class 0 is its contrary
        return _Column(torch.zeros_like(classes), 2 * classes - 1)
    return _Column(classes, torch.ones_like(classes))


class _Columns(nn.Module):
    """The network, with a score in a column of its own."""

    def __init__(self, network: nn.Module, inputs: Inputs, column: _Column) -> None:
        super().__init__()
        self.network = network
        self._inputs = inputs
        self._start = column.start

    def forward(self, *values: Tensor) -> Tensor:
        output: Tensor = obvious_part(replace(self._inputs, tensors=values).called(self.network))
        if self._start is None:
            return output.reshape(len(output), -1)
        # captum multiplies what arrives by the column's value: it is 1, and its gradient is the start.
        return 1 + (self._start.to(output) * (output - output.detach())).flatten(1).sum(1, keepdim=True)


class _LRP(captum.attr.LRP):
    """captum's, without writing the weights back at the end: the network is a copy for one run."""

    def _restore_state(self) -> None:
        pass


def _modules_up_to_block(network: fx.GraphModule, blocks: int) -> frozenset[str]:
    """Names of the modules that run before residual addition number ``blocks`` (all if there are fewer)."""
    names: set[str] = set()
    additions = 0
    for node in network.graph.nodes:
        if node.op == "call_module" and additions < blocks:
            names.add(node.target)
            additions += isinstance(network.get_submodule(node.target), Addition_Module)
    return frozenset(names)
