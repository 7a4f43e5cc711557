"""What one step of a network does with relevance under absLRP: how much each input contributes to the outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
TINY = 1e-9


@dataclass(frozen=True)
class Contributions:
    """Of the inputs of a step to its output.

    Attributes:
        output: of the step; relevance is divided by its magnitude.
        parts: (relevance / |output|) to what each input receives, before it is normalised.
    """

    output: Tensor
    parts: Callable[[Tensor], list[Tensor]]


def of_function(x: Tensor, function: Function, magnitude: Function | None = None) -> Contributions:
    """Contributions x * d/dx <y + y~, q>, where y = function(x) and y~ = magnitude(|x|).

    Args:
        x: input of the step.
        function: the step.
        magnitude: the step with the magnitudes of its weights; None: it has none.
    """
    magnitude = magnitude or function

    def parts(q: Tensor) -> list[Tensor]:
        return [x * pulled_back(function, x, q) + x.abs() * pulled_back(magnitude, x.abs(), q)]

    return Contributions(function(x), parts)


def of_product(a: Tensor, b: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Contributions:
    """Contributions of both factors of a product of two activations."""

    def parts(q: Tensor) -> list[Tensor]:
        return [
            of_function(a, lambda v: product(v, b), lambda v: product(v, b.abs())).parts(q)[0],
            of_function(b, lambda v: product(a, v), lambda v: product(a.abs(), v)).parts(q)[0],
        ]

    return Contributions(product(a, b), parts)


def of_sum(summands: list[Tensor], constant: Tensor | float = 0.0) -> Contributions:
    """Contributions of summands: their positive parts (twice, as for every step)."""
    total = sum(summands[1:], summands[0]) + constant
    return Contributions(total, lambda q: [2 * x.clamp(min=0) * q for x in summands])


def of_softmax(x: Tensor, dim: int) -> Contributions:
    """Contributions through the exponential alone: maximum and sum count as constants."""
    y, magnitude = x.softmax(dim), x.abs().softmax(dim)
    return Contributions(y, lambda q: [x * (y + x.sign() * magnitude) * q])


def of_layer_norm(x: Tensor, module: nn.LayerNorm) -> Contributions:
    """Contributions with mean and deviation as constants, of x and of |x|."""
    dims = tuple(range(-len(module.normalized_shape), 0))

    def deviation(v: Tensor) -> Tensor:
        return (v.var(dims, unbiased=False, keepdim=True) + module.eps).sqrt()

    weight = torch.ones_like(x) if module.weight is None else module.weight
    slope = weight / deviation(x), weight.abs() / deviation(x.abs())
    return Contributions(module(x), lambda q: [(x * slope[0] + x.abs() * slope[1]) * q])


def of_layer(x: Tensor, module: nn.Module) -> Contributions:
    """Contributions of a module with ``weight`` and ``bias`` (or without), and its twin with their magnitudes."""
    state = {name: value.abs() for name, value in module.named_parameters()}

    def magnitude(v: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(module, state, (v,))
        return result

    return of_function(x, module, magnitude)


def pulled_back(function: Function, x: Tensor, q: Tensor) -> Tensor:
    """Return d/dx <function(x), q>."""
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(function(variable), variable, q)
    return gradient
