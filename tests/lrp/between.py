"""A plain network with a function between its layers: what tests have a network do on the way."""

from collections.abc import Callable

from plain_networks import plain
from torch import Tensor, nn


class Between(nn.Module):
    """A function on the first activation, (N, 8, H - 2, W - 2) and not negative, of a plain network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.function = plain(), function

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2:](self.function(self.net[:2](x)))
