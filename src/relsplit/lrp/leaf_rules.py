"""Rules for modules that cannot be traced, or shall not be, given by their user in ``LRP(leaves={ItsClass: rule})``.

A class may also be given by its name, as in a configuration: ``LRP(leaves={"Bottleneck": "block"})``.

A leaf rule is a function ``(function, h, relevance) -> relevance of h``: ``function`` evaluates the leaf on its first
input ``h`` (other arguments fixed), ``relevance`` has the shape of its output.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp.rules.quotient import signed_denominator

LeafRule = Callable[[Callable[..., Any], Tensor, Tensor], Tensor]
"""``(function, h, relevance) -> relevance of h``."""


def unchanged(function: Callable[..., Any], h: Tensor, relevance: Tensor) -> Tensor:
    """Relevance goes through unchanged: for activations and normalisations (output shaped like the input)."""
    return relevance


def input_times_gradient(function: Callable[..., Any], h: Tensor, relevance: Tensor) -> Tensor:
    """``h * J^T (R / (J h))`` with the leaf's Jacobian J at h: the epsilon rule of the leaf, linearised.

    Conserves relevance up to entries where J h is zero.
    """
    in_graph, variable = torch.is_grad_enabled(), _variable(h)
    with torch.enable_grad():
        output = function(variable)
        # J h by the double-backward trick: the gradient of (J^T v) . h with respect to v.
        dummy = torch.zeros_like(output, requires_grad=True)
        (pulled,) = torch.autograd.grad(output, variable, dummy, create_graph=True)
        (contributions,) = torch.autograd.grad(pulled, dummy, h, retain_graph=True, create_graph=in_graph)
        s = relevance / signed_denominator(contributions, 1e-9)
        (result,) = torch.autograd.grad(output, variable, s, create_graph=in_graph)
    return (result if in_graph else result.detach()) * h


def block(function: Callable[..., Any], h: Tensor, relevance: Tensor) -> Tensor:
    """``h * J^T (R / (z + 1e-5))`` with the leaf's output z and its Jacobian J at h: a residual block as one layer.

    The C1-LRP poster (Iida et al., 2023) treats "each Bottleneck as a single dense layer". Its formula is a picture;
    this is the reading that fits its words and the pattern of the released code (Otsuki et al., ECCV 2024). Relevance
    is not conserved: z holds what BatchNorm's shift added, J h does not, and the share (z - J h) / z is lost or made
    up; where z is nearly 0 relevance grows. For blocks that end in a ReLU, so that z is not negative.
    """
    in_graph, variable = torch.is_grad_enabled(), _variable(h)
    with torch.enable_grad():
        output = function(variable)
        s = relevance / ((output if in_graph else output.detach()) + _BLOCK_STABILIZER)
        (result,) = torch.autograd.grad(output, variable, s, create_graph=in_graph)
    return result * h


def _variable(h: Tensor) -> Tensor:
    """Return ``h`` as what a leaf can be differentiated by: a copy, part of a graph where that is."""
    return h.clone() if h.requires_grad else h.detach().clone().requires_grad_()


def leaf_rules(leaves: "Mapping[Any, str | LeafRule] | None", model: nn.Module) -> dict[Any, LeafRule]:
    """Understand LRP's ``leaves`` option for ``model``.

    Raises:
        InputError: no mapping, a key that is neither a module class (or the name of one that the model has) nor a
            function, or an unknown rule.
    """
    if not isinstance(leaves, Mapping | None):
        raise InputError(f"leaves must be a mapping from module classes to rules, not {type(leaves).__name__}")
    rules: dict[Any, LeafRule] = {}
    for given, rule in (leaves or {}).items():
        leaf = _class_named(given, model) if isinstance(given, str) else given
        if not isinstance(leaf, type) and not hasattr(leaf, "__code__"):
            raise InputError(f"leaves: {leaf!r} is neither a module class nor a Python function")
        if isinstance(rule, str) and rule not in _NAMED:
            raise InputError(
                f"leaves: rule {rule!r} is unknown: use one of {', '.join(map(repr, _NAMED))}, or a function"
            )
        rules[leaf] = _NAMED[rule] if isinstance(rule, str) else rule
    return rules


def _class_named(name: str, model: nn.Module) -> type[nn.Module]:
    """Return the class of that name among those of the model's modules and their base classes."""
    found = {kind.__name__: kind for module in model.modules() for kind in type(module).__mro__}
    if name not in found or not issubclass(found[name], nn.Module):
        known = ", ".join(sorted({type(module).__name__ for module in model.modules()}))
        raise InputError(f"leaves: no module of the model is a {name!r}: it has {known}")
    return found[name]


_BLOCK_STABILIZER = 1e-5
_NAMED: dict[str, LeafRule] = {"pass": unchanged, "input_times_gradient": input_times_gradient, "block": block}
