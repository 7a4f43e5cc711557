"""Whole networks as descriptions."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from dense_relevance import Back, Choices, Value, averaged, greatest, weighted
from described_block import CHANNELS, SIDE, Block, Hook
from described_compositions import Sequence
from described_layers import Conv
from torch import Tensor, nn


@dataclass
class Described:
    """A network: what is done to the images, a first layer, blocks, and a head.

    Attributes:
        stem: from the images' 3 channels to CHANNELS at SIDE x SIDE.
        body: the blocks.
        head: "mean" (over positions), "flat" (all of them), "max".
        end: "logits", "one logit", "squeezed", "softmax", "sigmoid", "temperature".
        normalised: whether the network normalises its images first.
        hooks: on the network itself.
        temperature: what the scores are divided by, with the end of that name.
    """

    stem: Conv
    body: Sequence
    head: str = "mean"
    end: str = "logits"
    normalised: bool = False
    hooks: list[Hook] = field(default_factory=list)
    temperature: float = 0.5
    network: "Network" = field(init=False, repr=False)

    @property
    def classes(self) -> int:
        return 1 if self.end in ("one logit", "squeezed") else 4

    def built(self, seed: int) -> "Network":
        """The network with seeded weights, in evaluation mode, float64."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Network(self).double().eval()
        for hook in self.hooks:
            hook.register(self.network)
        return self.network

    def blocks(self) -> list[Block]:
        return [self.stem, *self.body.inner()]

    def image_side(self) -> int:
        return SIDE * self.stem.stride

    def explained(self, image: Tensor, choices: Choices, negated: bool = False) -> "tuple[Tensor, Back]":
        """The scores (classes,) of one image (3, H, W), and the way back; ``negated``, of a network that answers so."""
        state = {name: each.detach().clone() for name, each in self.network.state_dict().items()}
        value = Value(image.double(), torch.ones_like(image) > 0)
        for hook in self.hooks:
            value = value.pointwise(hook.value) if hook.before else value
        if self.normalised:
            value = value.pointwise(lambda x: (x - 0.4) / 0.3)
        value, first = self.stem.explained(value, state, choices)
        value, rest = self.body.explained(value, state, choices)
        if self.head == "flat":
            value, pooled = value.map(lambda x: x.flatten(1)), lambda r: r.reshape(CHANNELS, SIDE, SIDE)
        elif self.head == "mean":
            value, pooled = averaged(choices, value, lambda x: x.mean((2, 3)))
        else:
            value, pooled = greatest(choices, value)
        sign = -1 if negated else 1
        weight, bias = (sign * state[f"classify.{key}"].double() for key in ("weight", "bias"))
        value, last = weighted(
            choices, value, lambda x: F.linear(x, weight, bias), lambda x: F.linear(x, torch.ones_like(weight))
        )
        scores = value.h / self.temperature if self.end == "temperature" else value.h
        for hook in self.hooks:
            scores = scores if hook.before else hook.value(scores)
        return scores, lambda relevance: first(rest(pooled(last(relevance))))


class Network(nn.Module):
    """What a :class:`Described` describes."""

    def __init__(self, description: Described) -> None:
        super().__init__()
        self.stem = description.stem.built("stem")
        self.body = description.body.built("body")
        width = CHANNELS * SIDE**2 if description.head == "flat" else CHANNELS
        self.classify = nn.Linear(width, description.classes)
        self.head, self.end, self.normalised = description.head, description.end, description.normalised
        self.temperature = description.temperature
        with torch.no_grad():
            self.classify.weight.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        if self.normalised:
            x = (x - 0.4) / 0.3
        h = self.body(self.stem(x))
        heads = {"flat": lambda: torch.flatten(h, 1), "mean": lambda: h.mean((2, 3)), "max": lambda: h.amax((2, 3))}
        scores = self.classify(heads[self.head]())
        if self.end == "squeezed":
            return scores.squeeze(1)
        if self.end == "softmax":
            return scores.softmax(1)
        if self.end == "sigmoid":
            return scores.sigmoid()
        return scores / self.temperature if self.end == "temperature" else scores
