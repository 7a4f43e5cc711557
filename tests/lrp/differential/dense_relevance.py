"""Relevance by the papers' formulas on dense matrices in float64, one image at a time: slow, and as plain as possible.

Every step of a network is a function that returns its value and a function from the value's relevance to the relevance
of what came in. A layer that is linear in its input is its matrix, found by applying it to unit vectors; a rule is a
matrix of shares. Nothing here is shared with the library.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Back = Callable[[Tensor], Tensor]
"""From the relevance of a step's output to that of its input."""
Layer = Callable[[Tensor], Tensor]
"""An affine function of a batch."""

NOTHING = 1e-200
"""What is below counts as no contribution."""


@dataclass(frozen=True)
class Value:
    """What a step hands on of one image.

    Attributes:
        h: the activation, float64, without batch dimension.
        depends: where it depends on the image; constants never receive relevance.
        layers: how many convolutions and fully connected layers lie on the longest way from the image.
    """

    h: Tensor
    depends: Tensor
    layers: int = 0

    def map(self, function: Layer) -> "Value":
        """Apply what only moves entries about; ``function`` is of a batch."""
        return Value(function(self.h[None])[0], function(self.depends[None].double())[0] > 0.5, self.layers)

    def pointwise(self, function: Layer) -> "Value":
        """Apply an activation, a normalisation, or a product by a constant."""
        return Value(function(self.h[None])[0], self.depends, self.layers)


@dataclass
class Choices:
    """The options of one explanation, and how many additions have been met so far."""

    rule: str = "z_plus"
    input_rule: str = "ones"
    split: str = "ratio"
    include_identity: bool = True
    max_pool: str = "average"
    attention: str = "ratio"
    mixed_after: int | None = None  # residual additions after which "epsilon" takes the rule's place
    additions: int = field(default=0)

    def rule_here(self) -> str:
        """The rule of a layer at this place."""
        return "epsilon" if self.mixed_after is not None and self.additions >= self.mixed_after else self.rule


def matrix(layer: Layer, shape: torch.Size) -> tuple[Tensor, Tensor, torch.Size]:
    """The matrix (outputs, inputs) of a layer for inputs of ``shape``, its bias (outputs,), and its output's shape."""
    size = shape.numel()
    origin = layer(torch.zeros(1, *shape, dtype=torch.float64))
    columns = layer(torch.eye(size, dtype=torch.float64).reshape(size, *shape))
    return (columns - origin).flatten(1).T, origin.flatten(), origin.shape[1:]


def shares(rule: str, w: Tensor, bias: Tensor, reach: Tensor, h: Tensor, depends: Tensor) -> Tensor:
    """Share (outputs, inputs) of each output's relevance that each input receives.

    Args:
        rule: its name.
        w: matrix (outputs, inputs).
        bias: (outputs,).
        reach: (outputs, inputs), not negative: how a unit that nothing contributes to spreads its relevance.
        h: (inputs,).
        depends: (inputs,) bool.
    """
    c = w * torch.where(depends, h, 0)
    up, down = c.clamp(min=0), c.clamp(max=0)
    even = _evenly(reach, depends)
    if rule in ("z_plus", "activation"):
        return _parts(up, even)
    if rule == "ones":
        return _parts(w.clamp(min=0) * depends, even)
    if rule == "flat":
        return even
    if rule == "ratio":
        return _parts(c.abs(), even)
    if rule == "flow":
        return _parts(w.abs() * depends, even)
    if rule == "epsilon":
        z = c.sum(1, keepdim=True) + bias[:, None]
        return c / (z + torch.where(z < 0, -1e-9, 1e-9))
    if rule == "gamma":
        favoured = torch.where(c.sum(1, keepdim=True) >= 0, up, down)
        return _parts(c + 0.25 * favoured, even)
    if rule == "alpha2_beta1":
        return 2 * _parts(up, _parts(down, even)) - _parts(down, _parts(up, even))
    raise AssertionError(rule)


def _parts(weights: Tensor, otherwise: Tensor) -> Tensor:
    total = weights.sum(1, keepdim=True)
    none = total.abs() <= NOTHING
    return torch.where(none, otherwise, weights / torch.where(none, 1, total))


def _evenly(reach: Tensor, depends: Tensor) -> Tensor:
    """Over what a unit sees of the image; one that sees nothing of it, over all that depends on the image."""
    seen = reach * depends
    everywhere = depends.double().expand_as(reach) / max(int(depends.sum()), 1)
    return _parts(seen, everywhere)


def linear(choices: Choices, value: Value, layer: Layer, reach: Layer, rule: str) -> tuple[Value, Back]:
    """A layer with a rule; ``reach`` is the layer with ones (or what it spreads by) for weights, without bias."""
    w, bias, shape = matrix(layer, value.h.shape)
    field_of_view, _, _ = matrix(reach, value.h.shape)
    depends = value.depends.flatten()
    part = shares(rule, w, bias, field_of_view, value.h.flatten(), depends)
    result = Value(
        (w @ value.h.flatten() + bias).reshape(shape),
        ((field_of_view * depends).sum(1) > 0).reshape(shape),
        value.layers,
    )
    return result, lambda relevance: (part.T @ relevance.flatten()).reshape(value.h.shape)


def weighted(choices: Choices, value: Value, layer: Layer, reach: Layer) -> tuple[Value, Back]:
    """A convolution or a fully connected layer: the first ones have a rule of their own."""
    rule = choices.input_rule if value.layers == 0 else choices.rule_here()
    result, back = linear(choices, value, layer, reach, rule)
    return Value(result.h, result.depends, value.layers + 1), back


def averaged(choices: Choices, value: Value, average: Layer) -> tuple[Value, Back]:
    """Average pooling and means: a layer whose weights say how it spreads, too."""
    return linear(choices, value, average, average, choices.rule_here())


def winner(value: Value, pool: Layer, window: Layer) -> tuple[Value, Back]:
    """Max pooling whose winner (of those that depend on the image) takes all; of equal ones the first."""
    w, _, shape = matrix(window, value.h.shape)
    eligible = torch.where(value.depends.flatten(), value.h.flatten(), -torch.inf)
    seen = torch.where(w > 0, eligible, -torch.inf)
    places = torch.arange(seen.shape[1])
    chosen = torch.where(seen == seen.amax(1, keepdim=True), places, seen.shape[1]).amin(1)
    depends = ((w > 0) & value.depends.flatten()).any(1).reshape(shape)

    def back(relevance: Tensor) -> Tensor:
        return (
            torch.zeros(value.h.numel(), dtype=torch.float64)
            .index_add(0, chosen, relevance.flatten())
            .reshape(value.h.shape)
        )

    return Value(pool(value.h[None])[0], depends, value.layers), back


def greatest(choices: Choices, value: Value) -> tuple[Value, Back]:
    """The maximum over all positions of a channel: as a mean, or the winners take equal parts."""
    most = value.h.amax((1, 2))
    if choices.max_pool != "winner":
        result, back = averaged(choices, value, lambda x: x.mean((2, 3)))
        return Value(most, result.depends, result.layers), back
    winners = (value.h == most[:, None, None]).double()
    part = winners / winners.sum((1, 2), keepdim=True)
    return Value(most, value.depends.flatten(1).any(1), value.layers), lambda relevance: part * relevance[:, None, None]


def added(choices: Choices, skip: Value, branch: Value, identity: bool) -> tuple[Value, Callable[[Tensor], Tensor]]:
    """The sum, and from its relevance the skip connection's part; the branch receives the rest.

    ``identity``: whether the skip connection has no layers where the branch has some.
    """
    choices.additions += 1
    s, m = skip.h, branch.h
    if not choices.include_identity and identity:
        share = torch.zeros_like(s)
    elif choices.split == "symmetric":
        share = torch.full_like(s, 0.5)
    elif choices.split == "ratio":
        total = s.abs() + m.abs()
        share = torch.where(total == 0, 0.5, s.abs() / torch.where(total == 0, 1, total))
    elif choices.split == "proportional":
        share = s / (s + m + torch.where(s + m < 0, -1e-9, 1e-9))
    elif choices.split == "gamma":
        favoured = [x * (1 + (x * (s + m) > 0)) for x in (s, m)]
        total = favoured[0] + favoured[1]
        share = torch.where(s + m == 0, 0.5, favoured[0] / torch.where(total == 0, 1, total))
    else:
        raise AssertionError(choices.split)
    share = torch.where(branch.depends, share, 1.0)
    share = torch.where(skip.depends, share, 0.0)
    result = Value(s + m, skip.depends | branch.depends, max(skip.layers, branch.layers))
    return result, lambda relevance: relevance * share


def attended(choices: Choices, weights: Tensor, values: Value) -> tuple[Value, Back]:
    """Attention weights (heads, queries, keys) times values (heads, keys, width): the values take all.

    A query that attends to nothing answers a constant.
    """
    rule = {"ratio": "ratio", "z_plus": "z_plus", "flow": "flow", "cp_lrp": "epsilon"}[choices.attention]
    found, relevances, open_rows = [], [], []
    for a, v, depends in zip(weights, values.h, values.depends, strict=True):
        parts = [
            shares(rule, a, torch.zeros(len(a), dtype=torch.float64), a.abs(), column, seen)
            for column, seen in zip(v.T, depends.T, strict=True)
        ]
        found.append(a @ v)
        relevances.append(parts)
        open_rows.append(torch.stack([((a > 0) & seen).any(1) for seen in depends.T], 1))
    result = Value(torch.stack(found), torch.stack(open_rows), values.layers)

    def back(relevance: Tensor) -> Tensor:
        return torch.stack(
            [
                torch.stack([part.T @ r for part, r in zip(parts, one.T, strict=True)], 1)
                for parts, one in zip(relevances, relevance, strict=True)
            ]
        )

    return result, back
