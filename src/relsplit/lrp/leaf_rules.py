"""Rules for modules that cannot be traced, given by their user in ``LRP(leaves={ItsClass: rule})``.

A leaf rule is a function ``(function, h, relevance) -> relevance of h``: ``function`` evaluates the leaf on its first
input ``h`` (other arguments fixed), ``relevance`` has the shape of its output.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

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
    variable = h.detach().clone().requires_grad_()
    with torch.enable_grad():
        output = function(variable)
        # J h by the double-backward trick: the gradient of (J^T v) . h with respect to v.
        dummy = torch.zeros_like(output, requires_grad=True)
        (pulled,) = torch.autograd.grad(output, variable, dummy, create_graph=True)
        (contributions,) = torch.autograd.grad(pulled, dummy, h, retain_graph=True)
        (result,) = torch.autograd.grad(output, variable, relevance / signed_denominator(contributions, 1e-9))
    return result.detach() * h


def leaf_rules(leaves: "Mapping[Any, str | LeafRule]") -> dict[Any, LeafRule]:
    """Understand LRP's ``leaves`` option.

    Raises:
        InputError: a key that is neither a module class nor a function, or an unknown rule.
    """
    rules: dict[Any, LeafRule] = {}
    for leaf, rule in leaves.items():
        if not callable(leaf):
            raise InputError(f"leaves: {leaf!r} is neither a module class nor a function")
        if isinstance(rule, str) and rule not in _NAMED:
            raise InputError(
                f"leaves: rule {rule!r} is unknown: use one of {', '.join(map(repr, _NAMED))}, or a function"
            )
        rules[leaf] = _NAMED[rule] if isinstance(rule, str) else rule
    return rules


_NAMED: dict[str, LeafRule] = {"pass": unchanged, "input_times_gradient": input_times_gradient}
