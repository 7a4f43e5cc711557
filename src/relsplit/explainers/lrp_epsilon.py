"""LRP-epsilon (Bach et al., 2015), by captum: as the paper ran it, and as it should be."""

from typing import Annotated, Literal

import captum.attr
import torch
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, IdentityRule
from torch import Tensor, fx, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.module_per_step import one_module_per_step
from relsplit.networks.answer import Answer, Scores
from relsplit.networks.shared_network import SharedNetwork
from relsplit.networks.views import shared_copy
from relsplit.options import Limits, checked_options

LINEAR = (nn.Conv2d, nn.Linear)
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@checked_options
class LRPEpsilon:
    """Relevance of the logit, passed down by the epsilon rule in every layer, biases included.

    Args:
        model: made of Conv2d, Linear, BatchNorm2d, pooling, ReLU, Tanh, Dropout and additions; ``"correct"`` needs that
            ``torch.fx`` can trace it.
        variant: ``"published"`` runs captum on the network as it is. captum does not see functional additions, so that
            each residual connection's relevance is counted more than once and the sums grow by orders of magnitude.
            ``"correct"`` runs it on the same network with every addition as a module; on ReLU networks the result is
            Input x Gradient.
        rule: ``"epsilon"``, or ``"mixture"`` (paper Table C): alpha1-beta0 up to the residual block number ``blocks``
            (BatchNorm passes relevance on there), epsilon after it.
        epsilon: stabiliser of every denominator (captum's default, published: 1e-9).
        blocks: where the mixture changes (published: 8, ResNet50's layer3.0).
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

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
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._correct = variant == "correct"
        self._epsilon = epsilon
        self._blocks = blocks if rule == "mixture" else None

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Relevance (N, 3, H, W) in units of the logit.

        In the precision of the images, or in float64 where ``"published"`` does not fit: on a ResNet101 the relevance
        that it counts again and again or its sum exceeds float32's 3e38.

        Raises:
            InputError: a module that captum has no rule for, or a network that cannot be traced or answers something
                else when it is.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(images)
            network = one_module_per_step(call.network) if self._correct else shared_copy(call.network)
            lower: frozenset[str] = frozenset()
            if self._blocks is not None:
                steps = network if isinstance(network, fx.GraphModule) else one_module_per_step(call.network)
                lower = _modules_up_to_block(steps, self._blocks)
            answer = call.checked(network(call.images.clone()), network)
            classes = answer.classes(target)
            relevance = self._relevance(network, call.images, answer, classes, lower)
            if not torch.isfinite(relevance.abs().flatten(1).sum(dim=1)).all():
                relevance = self._relevance(network, call.images.double(), answer, classes, lower)
        return relevance

    def _relevance(
        self, network: nn.Module, images: Tensor, answer: Answer, classes: Tensor, lower: frozenset[str]
    ) -> Tensor:
        # captum leaves activations and, for some rules, other weights on the modules: a copy for this run alone.
        network = shared_copy(network).to(images.dtype)
        self._set_rules(network, lower)
        column = torch.zeros_like(classes) if answer.is_single else classes
        try:
            relevance: Tensor = _LRP(_Columns(network)).attribute(images.detach().clone().requires_grad_(), column)
        except TypeError as error:
            raise InputError(f"lrp_epsilon: captum has no rule for a module of the network: {error}") from error
        if answer.is_single:  # of class 1; class 0 is its contrary
            relevance = relevance * (2 * classes - 1).reshape(-1, 1, 1, 1)
        return relevance.detach()

    def _set_rules(self, network: nn.Module, lower: frozenset[str]) -> None:
        for name, module in network.named_modules():
            if name in lower and isinstance(module, LINEAR):
                module.rule = Alpha1_Beta0_Rule()
            elif name in lower and isinstance(module, nn.BatchNorm2d):
                module.rule = IdentityRule()
            elif isinstance(module, (*LINEAR, *POOLINGS, nn.BatchNorm2d, Addition_Module)):
                module.rule = EpsilonRule(self._epsilon)


class _Columns(nn.Module):
    """The network, with one score in a column of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(images)
        return output.reshape(len(images), -1)


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
