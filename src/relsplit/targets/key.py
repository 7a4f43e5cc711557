"""A named part of what a network returns."""

from dataclasses import dataclass
from typing import Any

from relsplit.networks.outputs import chosen_output


@dataclass(frozen=True, eq=False)
class Key:
    """Of a dictionary, a dataclass (a ``ModelOutput`` of the transformers library), or a tuple: one part.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import Key
        >>> class Named(nn.Linear):
        ...     def forward(self, table):
        ...         return {"species": super().forward(table), "size": table}
        >>> tuple(LRP(Named(6, 3)).attribute(torch.rand(2, 6), Key("species", 2)).shape)
        (2, 6)

    Args:
        name: of the part, or its place.
        target: what is explained of it: a class, one for each image, None for the predicted one, or a function of it.
    """

    name: str | int
    target: Any = None

    def part(self, output: Any) -> Any:
        """Return the part.

        Raises:
            InputError: the network returns none of that name.
        """
        return chosen_output(output, self.name)
