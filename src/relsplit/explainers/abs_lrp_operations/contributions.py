"""How much each input of a step contributes to its outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

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
    size = x.abs()
    output, pull = _pulled(function, x)
    _, pull_magnitude = _pulled(magnitude or function, size)
    return Contributions(output, lambda q: [x * pull(q) + size * pull_magnitude(q)])


def of_product(a: Tensor, b: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Contributions:
    """Contributions of both factors of a product of two activations."""
    of_a = of_function(a, lambda v: product(v, b), lambda v: product(v, b.abs()))
    of_b = of_function(b, lambda v: product(a, v), lambda v: product(a.abs(), v))
    return Contributions(of_a.output, lambda q: of_a.parts(q) + of_b.parts(q))


def of_sum(summands: list[Tensor], total: Tensor) -> Contributions:
    """Contributions of summands: their positive parts (twice, as for every step)."""
    return Contributions(total, lambda q: [2 * x.clamp(min=0) * q for x in summands])


def of_softmax(x: Tensor, dim: int) -> Contributions:
    """Contributions through the exponential alone: maximum and sum count as constants."""
    y, magnitude = x.softmax(dim), x.abs().softmax(dim)
    return Contributions(y, lambda q: [x * (y + x.sign() * magnitude) * q])


def of_layer_norm(x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> Contributions:
    """Contributions with mean and deviation as constants, of x and of |x|."""
    dims = tuple(range(-len(shape), 0))

    def deviation(v: Tensor) -> Tensor:
        return (v.var(dims, unbiased=False, keepdim=True) + eps).sqrt()

    size = x.abs()
    slope = torch.ones_like(x) if weight is None else weight
    factor = x * slope / deviation(x) + size * slope.abs() / deviation(size)
    return Contributions(torch.nn.functional.layer_norm(x, shape, weight, bias, eps), lambda q: [factor * q])


def _pulled(function: Function, x: Tensor) -> tuple[Tensor, Function]:
    """Return y = function(x), and the function from q to d/dx <y, q>."""
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        output = function(variable)

    def pull(q: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(output, variable, q, retain_graph=True)
        return gradient

    return output.detach(), pull
